"""The contract: the request of a mosaic and the documents that the stages hand on.

One `MosaicRequest` is the file of ``cloudbuster run``, the input of the state machine, the request
object in S3 and the published JSON Schema. Documents are frozen and refuse unknown fields. They are
imported from here; the modules beneath follow the line of stages.
"""

from cloudbuster.models.base import (
    MAX_SCENE_INDEX,
    Document,
    Geometry,
    Item,
    MosaicName,
    OnRadiometryConflict,
    check_name,
)
from cloudbuster.models.request import (
    FIRST_DAY,
    LAST_DAY,
    MAX_INLINE_AOI_BYTES,
    DetectorOptions,
    FilterOptions,
    GatherOptions,
    LimitOptions,
    MergeOptions,
    MosaicRequest,
    QueryOptions,
)
from cloudbuster.models.results import (
    Assessment,
    LayerCoverage,
    MergeResult,
    RunResult,
    RunStatus,
    ZoneResult,
)
from cloudbuster.models.scene import (
    GatherTask,
    GridDocument,
    Radiometry,
    SceneFailure,
    SceneRecord,
)
from cloudbuster.models.selection import (
    Candidates,
    CandidatesInfo,
    Dropped,
    Selection,
    SelectionEntry,
    SelectionInfo,
)

__all__ = [
    "FIRST_DAY",
    "LAST_DAY",
    "MAX_INLINE_AOI_BYTES",
    "MAX_SCENE_INDEX",
    "Assessment",
    "Candidates",
    "CandidatesInfo",
    "DetectorOptions",
    "Document",
    "Dropped",
    "FilterOptions",
    "GatherOptions",
    "GatherTask",
    "Geometry",
    "GridDocument",
    "Item",
    "LayerCoverage",
    "LimitOptions",
    "MergeOptions",
    "MergeResult",
    "MosaicName",
    "MosaicRequest",
    "OnRadiometryConflict",
    "QueryOptions",
    "Radiometry",
    "RunResult",
    "RunStatus",
    "SceneFailure",
    "SceneRecord",
    "Selection",
    "SelectionEntry",
    "SelectionInfo",
    "ZoneResult",
    "check_name",
]
