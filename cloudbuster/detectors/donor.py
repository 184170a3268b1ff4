"""Detector ``donor``: the mask that another gathering of the same scene donated."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudbuster.core.grid import Grid
from cloudbuster.core.masks import DetectedMask
from cloudbuster.core.windows import any_in_cells, cells_of_size, covering_grid
from cloudbuster.errors import DonorError
from cloudbuster.source.donor_mask import DonatedMask, SceneIdentity, identity_of, read_donor_mask
from cloudbuster.storage.uri import exists, is_remote, join, local_path

if TYPE_CHECKING:
    from cloudbuster.detectors import SceneSource

logger = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class DonorDetector:
    """Uses a donated mask, if it is one of this very scene (at either product level).

    Attributes
    ----------
    donor_mask : str
        URI of the mask, or of the folder or prefix that holds it.
    donor_mask_name : str or None
        Its name in the folder, with or without ``.tif``; None to take the one mask of this scene
        among the folder's ``mask-*.tif``.
    mask_gsd_m : float or None
        Cell size of the result: a cell that touches a cloudy one is cloudy. None, or anything
        finer than the mask, for the mask's own cells.
    """

    donor_mask: str
    donor_mask_name: str | None = None
    mask_gsd_m: float | None = None

    def detect(self, source: "SceneSource", area: Grid) -> DetectedMask:
        """Take cloud in ``area``; see `cloudbuster.detectors.CloudDetector`.

        What lies outside of the donated mask is masked as defective. DonorError where the mask is
        another scene's or does not meet the area at all.
        """
        identity = identity_of(source.scene)
        uri, donated = self._find(identity)
        if donated.identity != identity:
            msg = (
                f"{uri} is the mask of {donated.identity}, and {source.scene.id} is {identity}; "
                "give this scene's own mask, or the folder that holds it"
            )
            raise DonorError(msg)
        mask = donated.mask
        if mask.grid.crs != area.crs:
            msg = f"{uri} is in {mask.grid.crs}, {source.scene.id} in {area.crs}; make it again"
            raise DonorError(msg)
        target = covering_grid(mask.grid, area)
        if self.mask_gsd_m is not None and self.mask_gsd_m > mask.grid.x_size:
            target = cells_of_size(source.grid, area, self.mask_gsd_m)
        return _cut(mask, target, f"{uri} for {source.scene.id}")

    def _find(self, identity: SceneIdentity) -> tuple[str, DonatedMask]:
        """(URI, mask) that the options name, or the one of this scene in the folder."""
        base = self.donor_mask
        if base.lower().endswith(SUFFIXES) or (not is_remote(base) and local_path(base).is_file()):
            return base, read_donor_mask(base)
        if self.donor_mask_name is not None:
            uri = self._named(base, self.donor_mask_name)
            return uri, read_donor_mask(uri)
        if is_remote(base):
            msg = f"{base} cannot be listed from here; name the mask with --donor-mask-name"
            raise DonorError(msg)
        return _search(base, identity)

    def _named(self, folder: str, name: str) -> str:
        uri = join(folder, name)
        if name.lower().endswith(SUFFIXES):
            return uri
        if not is_remote(uri) and exists(uri):
            return uri
        return f"{uri}.tif"


def _search(folder: str, identity: SceneIdentity) -> tuple[str, DonatedMask]:
    """Find the one mask of a scene in a folder; a file that cannot be read is not it."""
    if not local_path(folder).is_dir():
        msg = f"{folder} is no file and no folder; give the donated mask, or the folder it is in"
        raise DonorError(msg)
    found: list[tuple[str, DonatedMask]] = []
    complaints: list[str] = []
    paths = sorted(local_path(folder).glob("mask-*.tif"))
    for path in paths:
        try:
            donated = read_donor_mask(str(path))
        except DonorError as error:
            complaints.append(str(error))
            continue
        if donated.identity == identity:
            found.append((str(path), donated))
    if len(found) > 1:
        msg = (
            f"{folder} holds {len(found)} masks of {identity} ({', '.join(u for u, _ in found)}); "
            "name one with --donor-mask-name"
        )
        raise DonorError(msg)
    if not found:
        unread = (
            f", {len(complaints)} of which cannot be used: {complaints[0]}" if complaints else ""
        )
        msg = (
            f"{folder} holds no mask of {identity} among its {len(paths)} mask-*.tif{unread}; "
            "make one with --donate-mask"
        )
        raise DonorError(msg)
    return found[0]


def _cut(mask: DetectedMask, target: Grid, what: str) -> DetectedMask:
    """Put a mask on the cells wanted; those it does not reach are defective."""
    reached = any_in_cells(np.ones(mask.grid.shape, dtype=np.bool_), mask.grid, target)
    if not reached.any():
        msg = f"mask {what} does not meet the area wanted; make one that covers it"
        raise DonorError(msg)
    if not reached.all():
        logger.warning(
            "donor_mask_partial",
            extra={"mask": what, "missing_fraction": round(1 - float(reached.mean()), 4)},
        )
    cloud, defective, low_rank = (
        any_in_cells(layer, mask.grid, target)
        for layer in (mask.cloud, mask.defective, mask.low_rank)
    )
    return DetectedMask(
        grid=target,
        cloud=cloud,
        defective=defective | ~reached,
        low_rank=low_rank,
        detector=f"donor ({mask.detector})",
    )
