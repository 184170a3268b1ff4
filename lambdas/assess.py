"""Function of the state Assess."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Check that enough scenes were gathered, and write the tasks of the merge."""
    from cloudbuster import log
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.plans import assess_round, gather_results
    from cloudbuster.aws.stack.run_status import enter_stage
    from cloudbuster.aws.stack.state import failed_numbers, layout_of
    from cloudbuster.merging import plan_merge
    from cloudbuster.models import MosaicRequest
    from cloudbuster.storage.documents import read_document

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    run = layout_of(event["run"])
    enter_stage(run, "assess")
    request = read_document(run.document("request.json"), MosaicRequest)
    results = gather_results(event["gathered"], root=settings.root)
    counts, failures = assess_round(run, event["plan"], results, request)
    # The merge completes the backstop, because it has the scenes on its disk.
    plan = plan_merge(run, failed_numbers(results), failures, part_cells=settings.merge_part_cells)
    enter_stage(run, "merge")
    return {"more_rounds": False, "scenes": counts, **plan}
