"""The Assess state."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Say whether enough scenes were gathered, and hand them to the merge."""
    from cloudbuster import log
    from cloudbuster.aws.merging import MergeTask
    from cloudbuster.aws.plans import assess_round, gather_results
    from cloudbuster.aws.runs import RunPlaces
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.io.documents import read_document, write_document
    from cloudbuster.io.uri import join
    from cloudbuster.models import MosaicRequest

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    run = RunPlaces.of_state(event["run"])
    request = read_document(run.document("request.json"), MosaicRequest)
    results = gather_results(event["gathered"], root=settings.root)
    counts, failures = assess_round(run, event["plan"], results, request)
    merge_task_uri = join(run.tasks, "merge.json")
    task = MergeTask(
        request=run.document("request.json"),
        selection=run.document("selection.json"),
        scenes=run.scenes,
        failures=failures,
        output=run.products,
        assessment=run.document("assessment.json"),
        result=run.document("products.json"),
    )
    write_document(merge_task_uri, task)
    # What only cloudy pixels can fill is repaired by the merge, which has the scenes at hand.
    return {"more_rounds": False, "scenes": counts, "merge_task_uri": merge_task_uri}
