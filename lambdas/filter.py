"""The Filter state."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Run ``filter_scenes`` and ``plan_tasks`` on the candidates of a run."""
    from cloudbuster import log
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.catalog_secret import give_catalog_secret
    from cloudbuster.aws.stack.outcomes import enter
    from cloudbuster.aws.stack.plans import made_once, write_plan
    from cloudbuster.aws.stack.state import layout_of
    from cloudbuster.core.bands import requested_bands
    from cloudbuster.filter import filter_scenes
    from cloudbuster.models import Candidates, MosaicRequest, Selection
    from cloudbuster.storage.documents import read_document
    from cloudbuster.tasks import plan_tasks

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    give_catalog_secret(settings)
    run = layout_of(event["run"])
    enter(run, "filter")
    request = read_document(run.document("request.json"), MosaicRequest)
    candidates = read_document(run.document("candidates.json"), Candidates)
    # A later round takes the selection that assess has extended, and gathers what that adds.
    anew = request.force and event["run"]["round"] == 1
    bands = requested_bands(request.query.kind, request.gather.bands)
    selection = made_once(
        run.document("selection.json"),
        Selection,
        lambda: filter_scenes(candidates, request.filter, bands=bands),
        anew=anew,
    )
    tasks = plan_tasks(selection, name=request.name, options=request.gather, output=run.scenes)
    plan = write_plan(run, tasks, request, settings, anew=anew)
    enter(run, "gather")
    return plan
