"""Detector ``donor``: the mask that another gather of the same scene donated."""

import logging
from dataclasses import dataclass

import numpy as np

from cloudbuster.core.grids.grid import Grid
from cloudbuster.core.grids.ground import cell_size_m
from cloudbuster.core.grids.regrid import sample_nearest
from cloudbuster.core.grids.windows import any_in_cells, cells_of_size, covering_grid
from cloudbuster.core.pixels.joined_masks import FULL_AGREEMENT
from cloudbuster.core.pixels.masks import DetectedMask
from cloudbuster.detectors.protocol import SceneSource
from cloudbuster.errors import DonorError
from cloudbuster.source.masks.donor_mask import (
    DonatedMask,
    SceneIdentity,
    read_donor_mask,
    scene_identity,
)
from cloudbuster.storage.addresses.trust import admitted, own_trust
from cloudbuster.storage.files.uri import exists, is_remote, join, local_path

logger = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class DonorDetector:
    """Uses a donated mask of the same acquisition, at either product level.

    Attributes
    ----------
    donor_mask : str
        URI of the mask, or of the folder or prefix that holds it.
    donor_mask_name : str or None
        File name of the mask in the folder, with or without ``.tif``; None uses the mask of this
        scene among the ``mask-*.tif`` of the folder.
    mask_gsd_m : float or None
        Cell size of the result, metres; a cell is cloud if it touches a cloudy cell of the mask.
        None, or a size finer than the mask's, keeps the cells of the mask.
    """

    donor_mask: str
    donor_mask_name: str | None = None
    mask_gsd_m: float | None = None

    def detect(self, source: SceneSource, area: Grid) -> DetectedMask:
        """Read the clouds in ``area`` from the mask; see `CloudDetector.detect`.

        Cells outside the donated mask are defective. Raises DonorError if the mask belongs to
        another scene or does not overlap the area.
        """
        identity = scene_identity(source.scene)
        uri, donated = self._find(identity)
        if donated.identity != identity:
            msg = (
                f"{uri} is the mask of {donated.identity}, but {source.scene.id} is {identity}; "
                "give this scene's own mask, or the folder that holds it"
            )
            raise DonorError(msg)
        mask = donated.mask
        if mask.grid.crs != area.crs:
            msg = (
                f"{uri} is in {mask.grid.crs}, and {source.scene.id} in {area.crs}; "
                "make the mask again"
            )
            raise DonorError(msg)
        target = covering_grid(mask.grid, area)
        if self.mask_gsd_m is not None and self.mask_gsd_m > cell_size_m(mask.grid)[0]:
            target = cells_of_size(source.grid, area, self.mask_gsd_m)
        return _resample(mask, target, f"{uri} for {source.scene.id}")

    def _find(self, identity: SceneIdentity) -> tuple[str, DonatedMask]:
        """URI and content of the mask that the options name, or of the scene's in the folder.

        Raises UntrustedAddressError before a folder is listed that may not be.
        """
        base = self.donor_mask
        admitted(base, own_trust())
        if base.lower().endswith(SUFFIXES) or (not is_remote(base) and local_path(base).is_file()):
            return base, read_donor_mask(base)
        if self.donor_mask_name is not None:
            uri = _mask_uri(base, self.donor_mask_name)
            return uri, read_donor_mask(uri)
        if is_remote(base):
            msg = f"{base} cannot be listed from here; name the mask with --donor-mask-name"
            raise DonorError(msg)
        return _search(base, identity)


def _mask_uri(folder: str, name: str) -> str:
    """URI of a named mask in a folder; the suffix ``.tif`` may be left out of the name."""
    uri = join(folder, name)
    if name.lower().endswith(SUFFIXES):
        return uri
    if not is_remote(uri) and exists(uri):
        return uri
    return f"{uri}.tif"


def _search(folder: str, identity: SceneIdentity) -> tuple[str, DonatedMask]:
    """Find the mask of a scene among the ``mask-*.tif`` of a folder.

    A scene that was gathered in several rounds has several copies of one mask.
    """
    if not local_path(folder).is_dir():
        msg = f"{folder} does not exist; give the donated mask, or the folder that holds it"
        raise DonorError(msg)
    paths = sorted(str(path) for path in local_path(folder).glob("mask-*.tif"))
    masks, unreadable = _read_masks(paths)
    found = [(path, donated) for path, donated in masks if donated.identity == identity]
    if not all(_are_equal(donated.mask, found[0][1].mask) for _, donated in found[1:]):
        msg = (
            f"{folder} holds {len(found)} masks of {identity} "
            f"({', '.join(uri for uri, _ in found)}); name one with --donor-mask-name"
        )
        raise DonorError(msg)
    if not found:
        reason = (
            f", {len(unreadable)} of which cannot be used: {unreadable[0]}" if unreadable else ""
        )
        msg = (
            f"{folder} holds no mask of {identity} among its {len(paths)} mask-*.tif{reason}; "
            "make one with --donate-mask"
        )
        raise DonorError(msg)
    return found[0]


def _are_equal(first: DetectedMask, second: DetectedMask) -> bool:
    """Whether two masks were made by one detector and say the same of the same cells."""
    return (first.grid, first.detector) == (second.grid, second.detector) and all(
        np.array_equal(*pair) for pair in zip(first.layers, second.layers, strict=True)
    )


def _read_masks(paths: list[str]) -> tuple[list[tuple[str, DonatedMask]], list[str]]:
    """Read masks with their paths; those that cannot be read give messages instead."""
    masks: list[tuple[str, DonatedMask]] = []
    messages: list[str] = []
    for path in paths:
        try:
            masks.append((path, read_donor_mask(path)))
        except DonorError as error:
            messages.append(str(error))
    return masks, messages


def _resample(mask: DetectedMask, target: Grid, label: str) -> DetectedMask:
    """Resample a mask to a grid; cells outside the mask are defective.

    Raises
    ------
    DonorError
        If the mask does not overlap ``target``; ``label`` names it in the message.
    """
    covered = any_in_cells(np.ones(mask.grid.shape, dtype=np.bool_), mask.grid, target)
    if not covered.any():
        msg = f"mask {label} does not overlap the area; make one that covers it"
        raise DonorError(msg)
    if not covered.all():
        logger.warning(
            "donor_mask_partial",
            extra={"mask": label, "missing_fraction": round(1 - float(covered.mean()), 4)},
        )
    cloud, defective, low_rank, shadow = (
        any_in_cells(layer, mask.grid, target)
        for layer in (mask.cloud, mask.defective, mask.low_rank, mask.layers.shadow)
    )
    return DetectedMask(
        grid=target,
        cloud=cloud,
        defective=defective | ~covered,
        low_rank=low_rank,
        detector=f"donor ({mask.detector})",
        # A cell of several is no observation only if none of them is one.
        unobserved=covered & ~any_in_cells(~mask.layers.unobserved, mask.grid, target),
        shadow=shadow,
        agreement=None
        if mask.agreement is None
        else sample_nearest(mask.agreement, mask.grid, target, fill=FULL_AGREEMENT),
    )
