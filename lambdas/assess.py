"""The Assess state."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Say whether enough scenes were gathered, and hand them to the merge."""
    from cloudbuster import log
    from cloudbuster.aws.merging import plan_merge
    from cloudbuster.aws.outcomes import enter
    from cloudbuster.aws.plans import assess_round, gather_results
    from cloudbuster.aws.runs import RunPlaces
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.io.documents import read_document
    from cloudbuster.models import MosaicRequest

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    run = RunPlaces.of_state(event["run"])
    enter(run, "assess")
    request = read_document(run.document("request.json"), MosaicRequest)
    results = gather_results(event["gathered"], root=settings.root)
    counts, failures = assess_round(run, event["plan"], results, request)
    # What only cloudy pixels can fill is repaired by the merge, which has the scenes at hand.
    plan = plan_merge(run, results, failures, part_cells=settings.merge_part_cells)
    enter(run, "merge")
    return {"more_rounds": False, "scenes": counts, **plan}
