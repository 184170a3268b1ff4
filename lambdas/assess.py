"""Function of the state Assess."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Assess the scenes of a round, and plan the next round or the merge."""
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.catalog_secret import load_catalog_secret
    from cloudbuster.aws.stack.plans import gather_results
    from cloudbuster.aws.stack.rounds import end_round
    from cloudbuster.aws.stack.run_status import enter_stage
    from cloudbuster.aws.stack.state import layout_of
    from cloudbuster.processes import log

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    load_catalog_secret(settings)
    run = layout_of(event["run"])
    enter_stage(run, "assess")
    results = gather_results(event["gathered"], root=settings.root)
    assessed = end_round(run, int(event["run"]["round"]), event["plan"], results, settings)
    enter_stage(run, "filter" if assessed["more_rounds"] else "merge")
    return assessed
