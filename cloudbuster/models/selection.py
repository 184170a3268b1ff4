"""Documents of query and filter: the candidates, and the selection among them."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.texts.names import shown
from cloudbuster.models.base import (
    MAX_ID_CHARS,
    SCHEMA_DESCRIPTION,
    Address,
    Document,
    JsonObject,
)
from cloudbuster.models.scene import Delivery


class Dropped(Document):
    """A candidate that was dropped."""

    item_id: str = Field(description="Id of the STAC item.")
    reason: str = Field(description="Reason, in words.")


class Unpicked(Document):
    """A scene that was found and not picked."""

    item_id: str = Field(description="Id of the STAC item.")
    stage: Literal["query", "filter", "choice"] = Field(
        description="Where it was left out: `query` and `filter` for scenes that cannot be used or "
        "are not wanted, `choice` for usable ones that the picks do without."
    )
    acquired: datetime | None = Field(
        None, description="Acquisition time, UTC; null if it is unknown."
    )
    cloud_cover: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Cloud cover as the catalog gives it, percent; null if it is unknown.",
    )
    reason: str = Field(description="Reason, in words.")


class CandidatesInfo(Document):
    """Member ``cloudbuster`` of `Candidates`."""

    schema_: Literal["cloudbuster.candidates/1"] = Field(
        "cloudbuster.candidates/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    aoi: JsonObject = Field(description="Area of interest, one geometry, longitude and latitude.")
    aoi_notes: tuple[str, ...] = Field(
        (), description="What was converted and repaired in the area that was given."
    )
    kind: Kind = Field(description="Product level.")
    catalog: Address = Field(description="Catalog that was searched: a name, a URL or a path.")
    asset_mirror: tuple[str, ...] = Field(
        (), description="FROM=TO for each prefix of asset hrefs that was rewritten."
    )
    dropped: tuple[Dropped, ...] = Field((), description="Items that were found and dropped.")


class Candidates(Document):
    """Result of the query: a STAC ItemCollection, newest first."""

    type: Literal["FeatureCollection"] = Field("FeatureCollection", description="GeoJSON type.")
    features: tuple[JsonObject, ...] = Field(description="STAC items, newest first.")
    cloudbuster: CandidatesInfo = Field(description="What was searched, and what was dropped.")


class SelectionEntry(Document):
    """One pick."""

    item_id: str = Field(description="Id of the STAC item.")
    backstop: bool = Field(description="Whether its pixels are kept unmasked, for the backstop.")
    reused: bool = Field(
        default=False, description="Whether the same item is also picked for a clear layer."
    )
    weight: float | None = Field(
        None,
        ge=0,
        description="Gain of the pick: area that it adds, in units of the strategy, times the "
        "scene's clear share; with `clear`, the share of the area that it adds to what is seen "
        "clear.",
    )
    clear_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the area that this pick and those before it see clear, 0 to 1, as "
        "far as thumbnails say; null for strategy `original` and in later rounds.",
    )
    delivery: Delivery | None = Field(
        None, description="Parts of the scene that are needed; null for the whole scene."
    )
    round: int = Field(1, ge=1, description="Round in which the scene was picked.")


class SelectionInfo(Document):
    """Member ``cloudbuster`` of `Selection`."""

    schema_: Literal["cloudbuster.selection/1"] = Field(
        "cloudbuster.selection/1", alias="schema", description=SCHEMA_DESCRIPTION
    )
    aoi: JsonObject = Field(description="Area of interest, one geometry, longitude and latitude.")
    kind: Kind = Field(description="Product level.")
    catalog: Address = Field(description="Catalog that was searched: a name, a URL or a path.")
    asset_mirror: tuple[str, ...] = Field(
        (), description="FROM=TO for each prefix of asset hrefs that was rewritten."
    )
    strategy: str = Field(description="Strategy by which scenes were picked.")
    entries: tuple[SelectionEntry, ...] = Field(description="Picks, in order.")
    uncovered_by_layer: tuple[float, ...] = Field(
        description="Shares of the area that fewer than 1, 2, ... picked footprints cover, 0 to 1."
    )
    uncovered: float = Field(ge=0, le=1, description="Mean of `uncovered_by_layer`, 0 to 1.")
    backstop_uncovered: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the area without backstop, 0 to 1; null if no backstop was wanted.",
    )
    covered: bool = Field(description="Whether every requested limit was reached.")
    optimum_bound: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the area that no selection of as many scenes would see clear more "
        "of, as far as thumbnails say; null for strategy `original`.",
    )
    without_thumbnail: tuple[Dropped, ...] = Field(
        (), description="Candidates that were judged by their metadata alone, and why."
    )
    dropped: tuple[Dropped, ...] = Field((), description="Candidates that were dropped.")
    unpicked: tuple[Unpicked, ...] = Field(
        (),
        description="Scenes that were found and are not among the picks of the first round, those "
        "that were dropped included, by acquisition time.",
    )
    delivered_layers: int = Field(
        1,
        ge=1,
        description="How often each place is to be delivered clear, where the picks allow it, as "
        "the composite needs it; strategy `original` delivers all of its picks.",
    )


class Selection(Document):
    """Result of the filter: a STAC ItemCollection of the picked items, each once."""

    type: Literal["FeatureCollection"] = Field("FeatureCollection", description="GeoJSON type.")
    features: tuple[JsonObject, ...] = Field(description="STAC items that were picked, each once.")
    cloudbuster: SelectionInfo = Field(description="Picks, and what they leave uncovered.")

    @model_validator(mode="after")
    def _check_picks(self) -> Self:
        """Require that each item has an id of its own, and that each pick is one of the items."""
        ids = [item.get("id") for item in self.features]
        nameless = [number for number, name in enumerate(ids, start=1) if not _is_id(name)]
        if nameless:
            msg = f"feature {nameless[0]} has no id of 1 to {MAX_ID_CHARS} characters"
            raise ValueError(msg)
        known = set(ids)
        if len(known) < len(ids):
            msg = f"{len(ids)} features have {len(known)} ids: each item must be there once"
            raise ValueError(msg)
        unknown = [pick.item_id for pick in self.cloudbuster.entries if pick.item_id not in known]
        if unknown:
            msg = f"item {shown(unknown[0])} is picked, and is not among the features"
            raise ValueError(msg)
        return self


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS
