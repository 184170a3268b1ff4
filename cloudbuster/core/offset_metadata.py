"""What is said of a scene's radiometric offset, by its item and of its provider."""

from dataclasses import dataclass
from typing import Literal

from cloudbuster.core.scene import Scene

FIRST_OFFSET_BASELINE = 4.0

Treatment = Literal["kept", "mixed"]
"""What a provider does with the offset: serves ESA's DN as they are, or sometimes removes it."""

# By bucket, container or host in an asset's href (facts of each provider): the COGs of Earth
# Search's `sentinel-2-l2a` are the only ones from which the offset was removed, mostly
# (cirrus-earth-search#33, earth-search#9, #66, #71).
PROVIDER_PLACES: dict[str, Treatment] = {
    "sentinel-s2-l2a-cogs": "mixed",
    "e84-earth-search-sentinel-data": "kept",
    "sentinel2l2a01": "kept",
    "eodata": "kept",
    "sentinel-s2-l2a": "kept",
    "sentinel-s2-l1c": "kept",
}
# By collection, for copies of the files at another place. `sentinel-2-l2a` is what Earth Search,
# the Planetary Computer and the Data Space all call theirs: Earth Search's is told by its flag.
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
    """What is said of a scene's offset, before anybody looks at its pixels.

    Attributes
    ----------
    baseline : str or None
        Processing baseline as ``05.09``; None where the catalog does not tell.
    removed_flag : bool or None
        Whether the provider says that it removed the offset (``earthsearch:boa_offset_applied``).
    declared_offset : float or None
        ``raster:bands`` offset, reflectance (-0.1 or 0). Of a provider that removes offsets it
        describes the product as ESA made it, and is only quoted.
    treatment : {"kept", "mixed"} or None
        What the provider does with the offset; None where the provider is not known.
    """

    baseline: str | None = None
    removed_flag: bool | None = None
    declared_offset: float | None = None
    treatment: Treatment | None = None

    @property
    def had_offset(self) -> bool | None:
        """Whether ESA made the product with the offset; None where the baseline is not known."""
        return None if self.baseline is None else float(self.baseline) >= FIRST_OFFSET_BASELINE

    @property
    def statements(self) -> dict[str, bool]:
        """Whether the offset is in the pixels, by each source that says so, the best one first."""
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
        if made is not None and (made is False or not said):
            said["baseline"] = made
        return said

    @property
    def words(self) -> tuple[str, ...]:
        """The same as evidence for people."""
        provider = {
            "kept": "provider serves the DN as ESA made them",
            "mixed": "provider removes the offset from some products",
            None: "provider unknown",
        }[self.treatment]
        return (
            f"baseline {self.baseline or 'unknown'}",
            f"boa_offset_applied {self.removed_flag}",
            f"declared offset {self.declared_offset}",
            provider,
        )


def offset_metadata(scene: Scene) -> OffsetMetadata:
    """Collect what a scene's item and its provider say of its offset."""
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
    """Tell what the provider of a scene does with the offset.

    Parameters
    ----------
    collection : str or None
        Collection of the item.
    href : str
        Of one of its bands.
    removed_flag : bool or None
        ``earthsearch:boa_offset_applied``, which items of Earth Search alone carry.

    Returns
    -------
    {"kept", "mixed"} or None
        None where none of these tells.
    """
    for place, treatment in PROVIDER_PLACES.items():
        if f"/{place}/" in href or f"/{place}." in href:
            return treatment
    if removed_flag is not None:
        return "mixed"
    return PROVIDER_COLLECTIONS.get(collection or "")
