"""Requests for the tests of the stack."""

from typing import Any

from cloudbuster.aws.admission import admit
from cloudbuster.aws.settings import StackSettings

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
QUERY = {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]}
REQUEST: dict[str, Any] = {"name": "denver-2020", "aoi": SQUARE, "query": QUERY}
STACK = StackSettings(
    root="s3://stack", output_roots=("s3://ours",), default_request={"query": QUERY}
)


def request(*, settings: StackSettings = STACK, **changes: Any) -> Any:
    """A request that the stack has admitted."""
    return admit({**REQUEST, **changes}, source="test", settings=settings)
