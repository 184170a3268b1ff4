"""Function of the state Filter."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Run ``filter_scenes`` and ``plan_tasks`` on the candidates of a run."""
    from cloudbuster.aws.run_plan import Prices
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.catalog_secret import load_catalog_secret
    from cloudbuster.aws.stack.earlier_scenes import write_earlier_tasks
    from cloudbuster.aws.stack.plans import earlier_failures, write_expected, write_plan
    from cloudbuster.aws.stack.rounds import FILTER_SECONDS, THUMBNAILS
    from cloudbuster.aws.stack.run_status import enter_stage
    from cloudbuster.aws.stack.state import layout_of
    from cloudbuster.core.scenes.bands import requested_bands
    from cloudbuster.filter import filter_scenes
    from cloudbuster.models import Candidates, MosaicRequest, Selection
    from cloudbuster.processes import log
    from cloudbuster.runs.tasks import earlier_decisions, plan_tasks, read_tasks
    from cloudbuster.selection.clear_strategy import LookOptions
    from cloudbuster.storage.files.documents import read_document
    from cloudbuster.storage.files.reuse import made_once

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    load_catalog_secret(settings)
    run = layout_of(event["run"])
    enter_stage(run, "filter")
    request = read_document(run.document("request.json"), MosaicRequest)
    candidates = read_document(run.document("candidates.json"), Candidates)
    # A later round takes the selection that assess has extended, and gathers the added scenes.
    is_first_round = event["run"]["round"] == 1
    anew = request.starts_anew and is_first_round
    bands = requested_bands(request.query.kind, request.gather.bands)
    layers = request.delivered_layers
    look = LookOptions.of(request.gather, run.document(THUMBNAILS), FILTER_SECONDS, layers=layers)
    selection = made_once(
        run.document("selection.json"),
        Selection,
        lambda: filter_scenes(candidates, request.filter, bands=bands, look=look),
        anew=anew,
    )
    known, stamps = earlier_decisions([] if anew else read_tasks(run.tasks))
    tasks = plan_tasks(
        selection,
        name=request.name,
        options=request.gather,
        output=run.scenes,
        known=known,
        stamps=stamps,
    )
    if is_first_round:
        prices = Prices(settings, os.environ["AWS_REGION"])
        write_expected(run, selection, candidates, tasks, request, prices)
    if is_first_round and request.refresh and not request.force:
        write_earlier_tasks(run, tasks)
    failed = earlier_failures(run, event["run"]["round"])
    again = {"anew": anew, "is_first_round": is_first_round, "failed": failed}
    plan = write_plan(run, tasks, request, settings, **again)
    enter_stage(run, "gather")
    return plan
