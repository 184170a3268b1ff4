"""Strategy ``clear`` of the filter: read thumbnails, pick by them, and describe the picks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shapely.geometry.base import BaseGeometry

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.areas.aoi import simplified
from cloudbuster.core.grids.grid import Grid
from cloudbuster.errors import CatalogError, NothingUsableError
from cloudbuster.events import OnEvent
from cloudbuster.models import (
    Candidates,
    CandidatesInfo,
    DetectorOptions,
    Dropped,
    FilterOptions,
    GatherOptions,
    Item,
    Selection,
    SelectionInfo,
)
from cloudbuster.selection.cells import area_cells
from cloudbuster.selection.clear_candidates import ClearCandidates
from cloudbuster.selection.clear_choice import choose_clear
from cloudbuster.selection.messages import nothing_gains, nothing_left
from cloudbuster.selection.screening import MAX_VERTICES, Screened, item_cloud_cover
from cloudbuster.selection.stated_grid import stated_cells
from cloudbuster.selection.thumbnails import Thumbnails, read_thumbnails
from cloudbuster.selection.unpicked import left_by_clear, list_unpicked


@dataclass(frozen=True)
class LookOptions:
    """How the thumbnails of candidates are read.

    Attributes
    ----------
    detector : DetectorOptions
        Detector of gather: its preset decides which classes of the product's masks are clear.
    dilate_m : float
        Growth of cloud and shadow, metres.
    folder : str or None
        Folder or prefix in which thumbnails are kept for later calls; None keeps none.
    seconds : float or None
        Time after which the other candidates are judged by their metadata; None for no limit.
    crs : str
        CRS of the mosaic, as in a request: its bounding box is filled, not the area alone.
    whole : bool
        Whether scenes are delivered whole, as for a mosaic that is not clipped.
    layers : int
        How often each place is to be delivered clear, as the composite needs it.
    """

    detector: DetectorOptions = field(default_factory=DetectorOptions)
    dilate_m: float = 50.0
    folder: str | None = None
    seconds: float | None = None
    crs: str = "utm"
    whole: bool = False
    layers: int = 1

    @classmethod
    def of(
        cls,
        options: GatherOptions,
        folder: str | None = None,
        seconds: float | None = None,
        *,
        layers: int = 1,
    ) -> "LookOptions":
        """Take what the options of gather say."""
        whole = not options.bounds_clip
        return cls(options.detector, options.dilate_m, folder, seconds, options.crs, whole, layers)


def select_clear(
    candidates: Candidates,
    options: FilterOptions,
    aoi: BaseGeometry,
    screened: Screened,
    bands: tuple[str, ...],
    look: LookOptions,
    on_event: OnEvent | None,
) -> Selection:
    """Pick scenes by what their thumbnails show clear."""
    cells = area_cells(aoi, look.crs)
    clear, thumbnails = sample_candidates(candidates, screened, bands, look, cells.grid, on_event)
    dropped = (*screened.dropped, *_dropped(thumbnails.unusable))
    if not clear.items:
        raise NothingUsableError(nothing_left(dropped))
    ground = simplified(aoi, max_vertices=MAX_VERTICES)
    choice = choose_clear(ground, clear, cells, options, layers=look.layers)
    if not choice.entries:
        raise NothingUsableError(nothing_gains(aoi, clear.footprints, options))
    items = {str(item.get("id")): item for item in clear.items}
    picked = {entry.item_id for entry in choice.entries}
    left = left_by_clear(clear, cells.area, picked, options)
    by_layer = tuple(min(1.0, max(0.0, 1 - share)) for share in choice.layers)
    never_clear, unseen = by_layer[0], choice.unseen
    return Selection(
        features=tuple(items[entry.item_id] for entry in choice.entries),
        cloudbuster=SelectionInfo(
            aoi=candidates.cloudbuster.aoi,
            kind=candidates.cloudbuster.kind,
            catalog=candidates.cloudbuster.catalog,
            asset_mirror=candidates.cloudbuster.asset_mirror,
            strategy=options.strategy,
            entries=choice.entries,
            uncovered_by_layer=by_layer,
            uncovered=math.fsum(by_layer) / len(by_layer),
            backstop_uncovered=unseen if options.backstop else None,
            covered=never_clear <= options.max_never_clear and unseen == 0,
            dropped=dropped,
            optimum_bound=choice.optimum_bound,
            without_thumbnail=_dropped(thumbnails.missing),
            unpicked=list_unpicked(candidates, dropped, left),
            delivered_layers=look.layers,
        ),
    )


def sample_candidates(
    candidates: Candidates,
    screened: Screened,
    bands: tuple[str, ...],
    look: LookOptions,
    cells: Grid,
    on_event: OnEvent | None,
) -> tuple[ClearCandidates, Thumbnails]:
    """Read the thumbnails of the candidates, and sample them on a grid of cells."""
    thumbnails = read_thumbnails(
        screened.items,
        kind=candidates.cloudbuster.kind,
        catalog=candidates.cloudbuster.catalog,
        asset_mirror=candidates.cloudbuster.asset_mirror,
        bands=bands,
        detector=look.detector,
        dilate_m=look.dilate_m,
        folder=look.folder,
        seconds=look.seconds,
        on_event=on_event,
    )
    usable = screened.without(thumbnails.unusable).newest_first()
    clear = ClearCandidates(
        usable.items,
        usable.footprints,
        [item_cloud_cover(item) for item in usable.items],
        thumbnails.by_id,
        cells,
        whole=look.whole,
        stated=_stated(usable.items, thumbnails, candidates.cloudbuster),
    )
    return clear, thumbnails


def _stated(items: Sequence[Item], thumbnails: Thumbnails, info: CandidatesInfo) -> dict[str, Grid]:
    """Return the cells of the candidates that have no thumbnail, as far as their items say."""
    found = {}
    for item in items:
        item_id = str(item.get("id"))
        if item_id not in thumbnails.missing:
            continue
        try:
            scene = parse_scene(item, catalog=info.catalog, asset_mirror=info.asset_mirror)
        except CatalogError:
            # Without bands, coverage alone is planned, for which an item need not be a scene.
            continue
        cells = stated_cells(scene)
        if cells is not None:
            found[item_id] = cells
    return found


def _dropped(reasons: Mapping[str, str]) -> tuple[Dropped, ...]:
    """Make the records of items that are left out, from their reasons."""
    return tuple(Dropped(item_id=name, reason=reason) for name, reason in reasons.items())
