"""Defaults of the request's model, for the help: read from its source, where alone they stand.

To import the model takes half a second (pydantic, numpy and scipy come with it), and help is to
come at once; to parse its source takes 5 ms. A test compares the two.
"""

import ast
from functools import cache
from pathlib import Path

import cloudbuster

SOURCE = Path(cloudbuster.__file__).parent / "models" / "request.py"
# Model of each part of a request, by the path of the part in it.
MODELS = {
    "": "MosaicRequest",
    "query": "QueryOptions",
    "filter": "FilterOptions",
    "gather": "GatherOptions",
    "gather.detector": "DetectorOptions",
    "merge": "MergeOptions",
    "limits": "LimitOptions",
}


def model_default(part: str, field: str) -> object:
    """Read the default of a field.

    Parameters
    ----------
    part : str
        Path of the part of the request that holds it, as ``gather.detector``; empty for the request
        itself.
    field : str
        Its name in the model.

    Returns
    -------
    object
        None also for a field without a default.
    """
    return _defaults()[MODELS[part]][field]


@cache
def _defaults() -> dict[str, dict[str, object]]:
    """Defaults of each field of each class in the source of the model."""
    return {
        statement.name: {
            line.target.id: _default_of(line.value)
            for line in statement.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        for statement in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ClassDef)
    }


def _default_of(value: ast.expr | None) -> object:
    """Read the default in ``Field(default, ...)`` or ``Field(default=default, ...)``."""
    if not isinstance(value, ast.Call):
        return None
    named = [keyword.value for keyword in value.keywords if keyword.arg == "default"]
    defaults = [*value.args, *named]
    return ast.literal_eval(defaults[0]) if defaults else None
