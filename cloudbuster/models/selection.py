"""What query and filter hand on: the candidates, and those of them that are picked."""

from typing import Literal

from pydantic import Field

from cloudbuster.core.bands import Kind
from cloudbuster.models.base import Document, Geometry, Item


class Dropped(Document):
    """A candidate that was not taken, and why."""

    item_id: str
    reason: str


class CandidatesInfo(Document):
    """What `Candidates` says beside its items."""

    schema_: Literal["cloudbuster.candidates/1"] = Field("cloudbuster.candidates/1", alias="schema")
    aoi: Geometry = Field(description="Area of interest, one geometry, longitude and latitude.")
    kind: Kind
    catalog: str
    asset_mirror: tuple[str, ...] = Field(
        (), description="FROM=TO for each prefix of asset hrefs that was rewritten."
    )
    dropped: tuple[Dropped, ...] = ()


class Candidates(Document):
    """Result of the query: a STAC ItemCollection, newest first."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: tuple[Item, ...]
    cloudbuster: CandidatesInfo


class SelectionEntry(Document):
    """One picked scene, in order of its pick."""

    item_id: str
    backstop: bool = Field(description="Whether its pixels are kept unmasked, beneath all others.")
    reused: bool = Field(
        default=False, description="Whether the same item is also among the clear looks."
    )
    weight: float | None = Field(
        None, description="What the pick gained: area times clear share, units of the strategy."
    )


class SelectionInfo(Document):
    """What `Selection` says beside its items."""

    schema_: Literal["cloudbuster.selection/1"] = Field("cloudbuster.selection/1", alias="schema")
    aoi: Geometry = Field(description="Area of interest, one geometry, longitude and latitude.")
    kind: Kind
    catalog: str
    strategy: str
    entries: tuple[SelectionEntry, ...]
    uncovered_by_layer: tuple[float, ...] = Field(
        description="Share of the AOI's area that fewer than 1, 2, ... clear looks cover."
    )
    uncovered: float = Field(description="Mean of `uncovered_by_layer`, 0 to 1.")
    backstop_uncovered: float | None = Field(
        None, description="Share of the AOI's area without backstop; null where none was asked."
    )
    covered: bool = Field(description="Whether every limit asked for was reached.")
    dropped: tuple[Dropped, ...] = ()


class Selection(Document):
    """Result of the filter: a STAC ItemCollection of the picked items, each once."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: tuple[Item, ...]
    cloudbuster: SelectionInfo
