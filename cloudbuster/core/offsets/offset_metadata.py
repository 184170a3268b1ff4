"""Metadata about a scene's radiometric offset: from its item, and known of its provider."""

from dataclasses import dataclass
from typing import Literal

from cloudbuster.core.scenes.scene import Scene

FIRST_OFFSET_BASELINE = 4.0

Treatment = Literal["kept", "mixed"]
"""``kept``: the provider serves ESA's DN unchanged; ``mixed``: it removes the offset from some."""

# Treatment by bucket, container or host in an asset's href. The offset was removed only from the
# COGs of Earth Search's `sentinel-2-l2a`, and from most of these (cirrus-earth-search#33,
# earth-search#9, #66, #71).
PROVIDER_PLACES: dict[str, Treatment] = {
    "sentinel-s2-l2a-cogs": "mixed",
    "e84-earth-search-sentinel-data": "kept",
    "sentinel2l2a01": "kept",
    "eodata": "kept",
    "sentinel-s2-l2a": "kept",
    "sentinel-s2-l1c": "kept",
}
# Treatment by collection, for copies of the files elsewhere. `sentinel-2-l2a` is missing because
# Earth Search, the Planetary Computer and the Data Space all have a collection of that name; items
# of Earth Search are recognised by their flag.
PROVIDER_COLLECTIONS: dict[str, Treatment] = {
    "sentinel-2-c1-l2a": "kept",
    "sentinel-2-pre-c1-l2a": "kept",
    "sentinel-2-l1c": "kept",
    "sentinel-s2-l1c": "kept",
    "sentinel-s2-l2a": "kept",
    "sentinel-s2-l2a-cogs": "mixed",
}


@dataclass(frozen=True)
class OffsetMetadata:
    """Metadata about a scene's offset.

    Attributes
    ----------
    baseline : str or None
        Processing baseline, for example ``05.09``; None if the catalog does not give it.
    removed_flag : bool or None
        Whether the provider declares the offset removed (``earthsearch:boa_offset_applied``).
    declared_offset : float or None
        ``raster:bands`` offset, reflectance (-0.1 or 0). If the provider removes offsets, it
        describes ESA's product and is recorded only.
    file_offset : float or None
        Offset that the raster files themselves declare, reflectance; None if none.
    is_reflectance : bool
        Whether the files hold reflectance and not DN. Without a declared offset, reflectance has
        none.
    treatment : {"kept", "mixed"} or None
        What the provider does with the offset; None if the provider is unknown.
    """

    baseline: str | None = None
    removed_flag: bool | None = None
    declared_offset: float | None = None
    treatment: Treatment | None = None
    file_offset: float | None = None
    is_reflectance: bool = False

    @property
    def had_offset(self) -> bool | None:
        """Whether ESA added the offset to the product; None if the baseline is unknown."""
        return None if self.baseline is None else float(self.baseline) >= FIRST_OFFSET_BASELINE

    @property
    def statements(self) -> dict[str, bool]:
        """Whether the offset is in the pixels, by source; the most reliable source is first."""
        made = self.had_offset
        said: dict[str, bool] = {}
        if self.treatment == "kept" and made is not None:
            said["provider"] = made
        if self.removed_flag:
            said["flag"] = False
        elif self.removed_flag is False and made is not None:
            said["flag"] = made
        if self.declared_offset is not None and self.treatment != "mixed":
            said["declared offset"] = self.declared_offset < 0
        if self.file_offset is not None and self.treatment != "mixed":
            said["offset of the files"] = self.file_offset < 0
        if self.is_reflectance and self.declared_offset is None and self.file_offset is None:
            said = {"reflectance": False, **said}
        if made is not None and (made is False or not said):
            said["baseline"] = made
        return said

    @property
    def words(self) -> tuple[str, ...]:
        """The metadata as texts for a scene's record."""
        provider = {
            "kept": "provider serves the DN as ESA made them",
            "mixed": "provider removes the offset from some products",
            None: "provider unknown",
        }[self.treatment]
        files = () if self.file_offset is None else (f"offset of the files {self.file_offset:g}",)
        unit = ("files hold reflectance",) if self.is_reflectance else ()
        return (
            f"baseline {self.baseline or 'unknown'}",
            f"boa_offset_applied {self.removed_flag}",
            f"declared offset {self.declared_offset}",
            provider,
            *files,
            *unit,
        )


def offset_metadata(scene: Scene) -> OffsetMetadata:
    """Collect the metadata about a scene's offset."""
    href = next((asset.href for asset in scene.bands.values()), "")
    return OffsetMetadata(
        baseline=scene.baseline,
        removed_flag=scene.offset_removed_flag,
        declared_offset=scene.declared_offset,
        treatment=provider_treatment(scene.collection, href, scene.offset_removed_flag),
    )


def provider_treatment(
    collection: str | None, href: str, removed_flag: bool | None
) -> Treatment | None:
    """Return what the provider of a scene does with the offset.

    Parameters
    ----------
    collection : str or None
        Collection of the item.
    href : str
        Href of one of its bands.
    removed_flag : bool or None
        ``earthsearch:boa_offset_applied``, which only items of Earth Search have.

    Returns
    -------
    {"kept", "mixed"} or None
        None if the provider is unknown.
    """
    for place, treatment in PROVIDER_PLACES.items():
        if f"/{place}/" in href or f"/{place}." in href:
            return treatment
    if removed_flag is not None:
        return "mixed"
    return PROVIDER_COLLECTIONS.get(collection or "")
