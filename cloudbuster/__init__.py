"""Cloud-free mosaics from Sentinel-2 imagery.

The stages are ``query -> filter -> gather -> assess -> merge``, and `run` does them all. The names
below are imported when they are first used, so that ``import cloudbuster`` is fast and needs no
optional package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudbuster.filter import filter_scenes
    from cloudbuster.gather import gather_scenes
    from cloudbuster.inputs.request_files import load_request
    from cloudbuster.merge import MosaicRecipe, merge_scenes
    from cloudbuster.models import MosaicRequest
    from cloudbuster.query import query_scenes
    from cloudbuster.runs.pipeline import run
    from cloudbuster.runs.subruns import run_zones

__all__ = [
    "MosaicRecipe",
    "MosaicRequest",
    "filter_scenes",
    "gather_scenes",
    "load_request",
    "merge_scenes",
    "query_scenes",
    "run",
    "run_zones",
]

_HOMES = {
    "MosaicRecipe": "cloudbuster.merge",
    "MosaicRequest": "cloudbuster.models",
    "filter_scenes": "cloudbuster.filter",
    "gather_scenes": "cloudbuster.gather",
    "load_request": "cloudbuster.inputs.request_files",
    "merge_scenes": "cloudbuster.merge",
    "query_scenes": "cloudbuster.query",
    "run": "cloudbuster.runs.pipeline",
    "run_zones": "cloudbuster.runs.subruns",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562: any of the names above
    """Import a public name from its module."""
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'cloudbuster' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """Return the names of the module, with those that are not imported yet."""
    return sorted([*globals(), *__all__])
