"""Documents of a merge: its task, the scenes to merge, and the parts of a large mosaic."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cloudbuster.core.grids.grid import MAX_CELLS_ASIDE
from cloudbuster.models.base import SCHEMA_DESCRIPTION, Address, Document, FileName, MosaicName
from cloudbuster.models.scene import GridDocument, SceneFailure
from cloudbuster.models.self_check import HeldOutSums

# Greatest side of a part, cells: at 10 m, the width of the Earth takes four of them.
MAX_PART_CELLS = 2**20


class MergeTask(Document):
    """Everything that decides one merge, or one step of the merge of a large mosaic."""

    schema_: Literal["cloudbuster.merge-task/1"] = Field(
        "cloudbuster.merge-task/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    step: Literal["whole", "survey", "part", "assemble"] = Field(
        "whole",
        description="`whole` does all of the merge. A mosaic in parts takes three steps: `survey` "
        "completes the backstop and assesses the coverage, `part` merges one part, `assemble` "
        "makes the products of the parts.",
    )
    request: Address | None = Field(
        None, description="URI of the request; null to merge the scenes of `name`."
    )
    selection: Address | None = Field(
        None, description="URI of the selection; null to merge the scenes of `name`."
    )
    name: MosaicName | None = Field(
        None, description="Base of the file names; null if there is a request."
    )
    scenes: Address = Field(description="Folder or prefix of the gathered scenes.")
    wanted: Address | None = Field(
        None, description="URI of the list of scenes to merge; null for all scenes of the name."
    )
    failures: tuple[SceneFailure, ...] = Field((), description="Scenes that were not gathered.")
    output: Address = Field(description="Folder or prefix of the products.")
    assessment: Address | None = Field(
        None, description="URI of the assessment to write; null to merge the scenes of `name`."
    )
    result: Address = Field(description="URI of the result to write.")
    parts: Address | None = Field(None, description="Folder or prefix of the parts.")
    part_cells: int | None = Field(
        None, ge=1, le=MAX_PART_CELLS, description="Rows and columns of a part, cells."
    )
    part: int | None = Field(
        None, ge=1, le=MAX_CELLS_ASIDE, description="Number of the part to merge, from 1."
    )

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Require the fields that a step on parts needs."""
        in_parts = self.step in ("part", "assemble")
        given = [self.request is not None, self.parts is not None, self.part_cells is not None]
        if (in_parts and not all(given)) or (self.step == "part") != (self.part is not None):
            msg = f"step {self.step} needs request, parts and part_cells, and part for one part"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        """Require either the documents of a run or a name."""
        missing = [self.request is None, self.selection is None, self.assessment is None]
        is_a_step = self.step != "whole" and self.name is not None
        if len(set(missing)) > 1 or missing[0] != (self.name is not None) or is_a_step:
            msg = "give request, selection and assessment of a run, or the name alone"
            raise ValueError(msg)
        return self


class TaskScenes(Document):
    """The rasters that each task of a round writes."""

    schema_: Literal["cloudbuster.task-scenes/1"] = Field(
        "cloudbuster.task-scenes/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    tasks: tuple[dict[FileName, str], ...] = Field(
        description="For each task, the fingerprint of each of its rasters by file name without "
        "extension."
    )


class WantedScenes(Document):
    """The scenes that are to be merged, as file names without extension."""

    schema_: Literal["cloudbuster.wanted-scenes/1"] = Field(
        "cloudbuster.wanted-scenes/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    stems: tuple[FileName, ...] = Field(description="Scenes that must be there.")
    failed: dict[FileName, str] = Field(
        description="Fingerprints of scenes that failed: they are merged if a raster with this "
        "fingerprint was gathered by hand since."
    )


class MergedPart(Document):
    """Record of a merged part: the ``.json`` beside its rasters."""

    schema_: Literal["cloudbuster.merged-part/1"] = Field(
        "cloudbuster.merged-part/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    number: int = Field(ge=1, description="Number of the part, row by row from 1.")
    cells: int = Field(ge=1, le=MAX_PART_CELLS, description="Rows and columns of a part, cells.")
    composite: str = Field(description="Composite that the part was merged with.")
    bands: tuple[str, ...] = Field(description="Bands in output order.")
    grid: GridDocument = Field(description="Grid of the whole mosaic.")
    scenes: tuple[str, ...] = Field(
        description="File name and task fingerprint of every scene, separated by a space."
    )
    self_check: HeldOutSums | None = Field(
        None, description="Sums of the self-check of the part; null without one."
    )
