"""The contract: the request of a mosaic and the documents between the stages.

A `MosaicRequest` is the file of ``cloudbuster run``, the input of the state machine, the request
object in S3 and the published JSON Schema. Documents are frozen and refuse unknown fields. Import
them from this package, not from its modules.
"""

from cloudbuster.models.base import (
    MAX_ID_CHARS,
    MAX_SCENE_INDEX,
    Address,
    Document,
    Geometry,
    Item,
    JsonObject,
    MosaicName,
    OnRadiometryConflict,
    check_name,
)
from cloudbuster.models.finished import (
    Check,
    Explanation,
    PixelSource,
    SceneFate,
    Verification,
)
from cloudbuster.models.merging import MergedPart, MergeTask, TaskScenes, WantedScenes
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
    Claim,
    GatheredTasks,
    JobError,
    LayerCoverage,
    MergeResult,
    RunEnd,
    RunResult,
    RunStatus,
    SubRunResult,
)
from cloudbuster.models.scene import (
    Delivery,
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
    Unpicked,
)
from cloudbuster.models.self_check import BandCheck, GroundCheck, HeldOutSums, SelfCheck
from cloudbuster.models.work import CostLine, ExpectedWork, FrontierPoint, RunPlan

__all__ = [
    "DOCUMENTS",
    "FIRST_DAY",
    "LAST_DAY",
    "MAX_ID_CHARS",
    "MAX_INLINE_AOI_BYTES",
    "MAX_SCENE_INDEX",
    "Address",
    "Assessment",
    "BandCheck",
    "Candidates",
    "CandidatesInfo",
    "Check",
    "Claim",
    "CostLine",
    "Delivery",
    "DetectorOptions",
    "Document",
    "Dropped",
    "ExpectedWork",
    "Explanation",
    "FilterOptions",
    "FrontierPoint",
    "GatherOptions",
    "GatherTask",
    "GatheredTasks",
    "Geometry",
    "GridDocument",
    "GroundCheck",
    "HeldOutSums",
    "Item",
    "JobError",
    "JsonObject",
    "LayerCoverage",
    "LimitOptions",
    "MergeOptions",
    "MergeResult",
    "MergeTask",
    "MergedPart",
    "MosaicName",
    "MosaicRequest",
    "OnRadiometryConflict",
    "PixelSource",
    "QueryOptions",
    "Radiometry",
    "RunEnd",
    "RunPlan",
    "RunResult",
    "RunStatus",
    "SceneFailure",
    "SceneFate",
    "SceneRecord",
    "Selection",
    "SelectionEntry",
    "SelectionInfo",
    "SelfCheck",
    "SubRunResult",
    "TaskScenes",
    "Unpicked",
    "Verification",
    "WantedScenes",
    "check_name",
]

DOCUMENTS: dict[str, type[Document]] = {
    name: model
    for name, model in vars().copy().items()
    if isinstance(model, type) and issubclass(model, Document) and model is not Document
}
"""Every model of the contract by its name."""
