"""Function of the state Query."""

import os
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Run ``query_request`` for the request that an execution was started with."""
    from cloudbuster.aws.admission import admit
    from cloudbuster.aws.settings import StackSettings
    from cloudbuster.aws.stack.catalog_secret import load_catalog_secret
    from cloudbuster.aws.stack.claims import claim_place
    from cloudbuster.aws.stack.run_status import make_status
    from cloudbuster.aws.stack.scene_places import check_scenes
    from cloudbuster.aws.stack.state import first_round
    from cloudbuster.core.scenes.bands import requested_bands
    from cloudbuster.models import Candidates
    from cloudbuster.processes import log
    from cloudbuster.query import query_request
    from cloudbuster.storage.files.documents import write_document
    from cloudbuster.storage.files.reuse import made_once
    from cloudbuster.storage.files.run_layout import RunLayout

    log.configure(as_json=True, level="INFO")
    settings = StackSettings.of_environment(os.environ)
    load_catalog_secret(settings)
    request = admit(event["request"], source=event["execution"], settings=settings)
    run = RunLayout.in_bucket(request, settings.root, execution=event["execution"])
    claim_place(run, request, settings)
    write_document(run.document("request.json"), request)
    # If the execution is stopped at this very moment, EventBridge may have reported it before this
    # write, and the status stays `running`. Asking Step Functions would take a permission, and the
    # answer could be just as late.
    status = make_status(request, state="running", stage="query", execution=event["execution"])
    write_document(run.document("status.json"), status)
    candidates = made_once(
        run.document("candidates.json"),
        Candidates,
        lambda: query_request(request),
        anew=request.starts_anew,
    )
    check_scenes(candidates, requested_bands(request.query.kind, request.gather.bands), settings)
    return {**first_round(run), "candidate_count": len(candidates.features)}
