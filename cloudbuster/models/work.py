"""What a run is expected to read, decode and cost, before its first scene is gathered."""

from typing import Literal

from pydantic import Field

from cloudbuster.models.base import SCHEMA_DESCRIPTION, Document


class ExpectedWork(Document):
    """What the scenes of a selection are expected to take."""

    scenes: int = Field(ge=0, description="Number of gather tasks, one for each scene.")
    rounds: int = Field(1, ge=1, description="Rounds of filter and gather that are expected.")
    decoded_pixels: int = Field(
        ge=0, description="Pixels of the scenes' bands that are decoded, in whole tiles of files."
    )
    decoded_mask_pixels: int = Field(ge=0, description="The same of the scenes' masks.")
    read_bytes: int = Field(
        ge=0, description="Bytes of these tiles, of bands and masks, without headers."
    )
    requests: int = Field(ge=0, description="Requests for headers and tiles.")
    jpeg2000_pixels: int = Field(
        ge=0,
        description="Those of `decoded_pixels` that lie in JPEG 2000 files, which take longer.",
    )
    scene_bytes: int = Field(ge=0, description="Size of the gathered scenes.")
    product_bytes: int = Field(ge=0, description="Size of the products.")
    unreadable: tuple[str, ...] = Field(
        (), description="Ids of scenes whose headers could not be read; they are guessed."
    )


class CostLine(Document):
    """One line of the costs of a run."""

    name: str = Field(description="What is paid for.")
    amount: float = Field(ge=0, description="Amount of it.")
    unit: str = Field(description="Unit of the amount.")
    usd: float = Field(ge=0, description="Its price, US dollars.")


class FrontierPoint(Document):
    """What a number of scenes shows clear, and what it costs."""

    scenes: int = Field(ge=1, description="Number of scenes that are gathered.")
    clear_fraction: float = Field(
        ge=0, le=1, description="Share of the area that they show clear, as thumbnails say, 0 to 1."
    )
    usd: float = Field(ge=0, description="Costs of the run with these scenes, US dollars.")


class RunPlan(Document):
    """What a run would do; ``cloudbuster plan --json`` prints it, and a run keeps it."""

    schema_: Literal["cloudbuster.plan/1"] = Field(
        "cloudbuster.plan/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    work: ExpectedWork = Field(description="What the scenes are expected to take.")
    gathered_before: int = Field(0, ge=0, description="Scenes that an earlier run has gathered.")
    clear_fraction: float = Field(
        ge=0, le=1, description="Share of the area that the selection shows clear, 0 to 1."
    )
    covered: bool = Field(description="Whether every limit of the request was reached.")
    region: str | None = Field(None, description="Region of the prices; null without prices.")
    prices_as_of: str | None = Field(None, description="Month of the price table.")
    vcpu_hours: float | None = Field(
        None, ge=0, description="Hours of virtual processors of all jobs; null without prices."
    )
    costs: tuple[CostLine, ...] = Field((), description="Costs, by line.")
    usd: float | None = Field(None, ge=0, description="Sum of the costs, US dollars.")
    frontier: tuple[FrontierPoint, ...] = Field(
        (), description="What fewer scenes would show clear, and cost."
    )
