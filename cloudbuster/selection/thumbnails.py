"""Thumbnails: read what the candidate scenes show clear at low resolution, before any is picked."""

import hashlib
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as PoolTimeoutError
from contextlib import closing
from dataclasses import dataclass

import orjson

from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.scenes.bands import Kind
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.core.selection.sky_thumbnail import SkyThumbnail
from cloudbuster.detectors import resolved
from cloudbuster.errors import (
    AccessError,
    CatalogError,
    CloudBusterError,
    CredentialsError,
    GridError,
    MaskError,
    RasterError,
    TryAgainError,
)
from cloudbuster.events import Event, OnEvent, emit
from cloudbuster.models import DetectorOptions, Item
from cloudbuster.source.masks.product_masks import mask_name
from cloudbuster.source.thumbnails.sky_thumbnail import read_sky_thumbnail, thumbnail_hrefs
from cloudbuster.source.thumbnails.thumbnail_files import (
    read_thumbnail_file,
    thumbnail_file_name,
    write_thumbnail_file,
)
from cloudbuster.storage.files.uri import join
from cloudbuster.storage.rasters.gdal_env import gdal_env
from cloudbuster.storage.rasters.local_files import file_stamps

logger = logging.getLogger(__name__)

# Scenes that are read at a time. On two cores 100 scenes over HTTP with 30 ms of latency took the
# same time with 8, 16 and 24 threads (1.7 s on a busy machine): each scene takes 10 ms of CPU time.
# boto3 keeps ten connections open, so that more threads would open new ones for a cache in S3.
THREADS = 8
# A scene classification and its smallest overview are usually within the first 48 kB of a COG, so
# that one request reads both. A host that does not answer must not hold up the others for long:
# these reads are small.
GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_INGESTED_BYTES_AT_OPEN": 48 * 2**10,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
}
# Part of the fingerprint of a cached thumbnail; raise it when thumbnails change.
VERSION = 1

# Errors of the files of one scene, which gather would meet as well.
SCENE_ERRORS = (MaskError, RasterError, GridError)


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of candidate scenes, and why some have none.

    Attributes
    ----------
    by_id : mapping of str to SkyThumbnail
        Thumbnails by item id.
    unusable : mapping of str to str
        Reasons, by item id, why gather could not use a scene: the mask that its detector reads is
        missing or unreadable.
    missing : mapping of str to str
        Reasons, by item id, why a scene has no thumbnail though gather may use it; it is judged by
        its metadata.
    """

    by_id: Mapping[str, SkyThumbnail]
    unusable: Mapping[str, str]
    missing: Mapping[str, str]


@dataclass(frozen=True)
class _Job:
    """What is the same for every scene of a call; the type of the detector is not ``auto``."""

    kind: Kind
    catalog: str
    asset_mirror: tuple[str, ...]
    bands: tuple[str, ...]
    detector: DetectorOptions
    dilate_m: float
    folder: str | None
    seconds: float | None
    end_s: float | None

    @property
    def needs_product_mask(self) -> bool:
        """Whether gather cannot do without a mask of the product."""
        return "stock" in self.detector.detectors.names


def read_thumbnails(
    items: Sequence[Item],
    *,
    kind: Kind,
    catalog: str,
    asset_mirror: tuple[str, ...] = (),
    bands: tuple[str, ...],
    detector: DetectorOptions,
    dilate_m: float,
    folder: str | None,
    seconds: float | None = None,
    on_event: OnEvent | None = None,
) -> Thumbnails:
    """Read the thumbnails of candidate scenes, several at a time.

    Parameters
    ----------
    items : sequence of dict
        STAC items. Of several with one id the first counts.
    kind, catalog, asset_mirror : str, str, tuple of str
        Product level, name of the catalog, and mirrors of its assets.
    bands, detector, dilate_m : tuple of str, DetectorOptions, float
        Bands of the mosaic, how gather finds clouds, and how far it grows them, metres.
    folder : str or None
        Folder or ``s3://`` prefix that keeps thumbnails, one GeoTIFF for each scene; None keeps
        none. A thumbnail of an earlier call is used if it was made from the same item, files and
        options.
    seconds : float, optional
        Time limit; scenes that are not read by then have no thumbnail.
    on_event : callable, optional
        Progress callback.

    Returns
    -------
    Thumbnails
        Each id is in one of the three mappings, which have the order of the items.

    Raises
    ------
    CredentialsError, AccessError
        If no scene may be read, or the folder may not be.
    OutputError
        If the folder cannot be written.
    """
    end_s = None if seconds is None else time.monotonic() + seconds
    known = resolved(detector, kind)
    job = _Job(kind, catalog, asset_mirror, bands, known, dilate_m, folder, seconds, end_s)
    by_item = {str(item.get("id")): item for item in reversed(items)}
    order = list(dict.fromkeys(str(item.get("id")) for item in items))
    outcomes: dict[str, SkyThumbnail | CloudBusterError] = {}
    # Closed whatever happens here, so that no scene is begun after an interruption.
    with closing(_outcomes(job, {name: by_item[name] for name in order})) as found:
        for item_id, outcome in found:
            outcomes[item_id] = outcome
            emit(on_event, Event("filter", len(outcomes), len(order), f"thumbnail of {item_id}"))
    for item_id in order:
        outcomes.setdefault(item_id, _time_is_up(seconds))
    _raise_refusal(job, list(outcomes.values()))
    return _sorted_out(job, {item_id: outcomes[item_id] for item_id in order})


def _outcomes(
    job: _Job, items: Mapping[str, Item]
) -> Generator[tuple[str, SkyThumbnail | CloudBusterError], None, None]:
    """Yield the thumbnail or the error of each scene as they come, until the time is up."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnails")
    try:
        running: dict[Future[SkyThumbnail | CloudBusterError], str] = {
            pool.submit(_thumbnail_or_error, job, item): item_id for item_id, item in items.items()
        }
        left_s = None if job.end_s is None else max(0.0, job.end_s - time.monotonic())
        for future in as_completed(running, timeout=left_s):
            yield running[future], future.result()
    except PoolTimeoutError:
        # Reads that are under way end by themselves; what they find is not used.
        logger.warning("thumbnails_out_of_time")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _thumbnail_or_error(job: _Job, item: Item) -> SkyThumbnail | CloudBusterError:
    """Return the thumbnail of a scene, or the error that kept it from being read."""
    if job.end_s is not None and time.monotonic() >= job.end_s:
        return _time_is_up(job.seconds)
    # Options of GDAL hold in one thread, so that each of them sets its own.
    with gdal_env(**GDAL_OPTIONS):
        try:
            scene = parse_scene(item, catalog=job.catalog, asset_mirror=job.asset_mirror)
            if job.needs_product_mask:
                mask_name(scene, job.kind, job.detector.preset)
            fingerprint = _fingerprint(job, item, scene)
            uri = None if job.folder is None else join(job.folder, thumbnail_file_name(scene.id))
            kept = None if uri is None else read_thumbnail_file(uri, fingerprint)
            if kept is not None:
                return kept
            made = read_sky_thumbnail(scene, job.bands, job.detector, job.dilate_m)
        except CloudBusterError as error:
            return error
        if uri is not None:
            _keep(uri, made, fingerprint)
        return made


def _keep(uri: str, thumbnail: SkyThumbnail, fingerprint: str) -> None:
    """Write a thumbnail for later calls; go on without it if that fails in a way that may pass."""
    try:
        write_thumbnail_file(uri, thumbnail, fingerprint)
    except TryAgainError as error:
        logger.warning("thumbnail_not_kept", extra={"uri": uri, "reason": str(error)})


def _fingerprint(job: _Job, item: Item, scene: Scene) -> str:
    """Return the identity of everything that decides a thumbnail."""
    stamps = file_stamps(thumbnail_hrefs(scene, job.bands, job.detector))
    parts = {
        "version": VERSION,
        "item": item,
        "stamps": stamps,
        "bands": job.bands,
        "preset": job.detector.preset,
        "needs_product_mask": job.needs_product_mask,
        "dilate_m": job.dilate_m,
    }
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _time_is_up(seconds: float | None) -> TryAgainError:
    """Make the error of a scene that was not read before the time limit."""
    limit = "" if seconds is None else f" of {seconds:g} s"
    return TryAgainError(f"its thumbnail was not read within the time limit{limit}")


def _raise_refusal(job: _Job, outcomes: Sequence[SkyThumbnail | CloudBusterError]) -> None:
    """Raise the error of the first scene if it is one of credentials, and all scenes have it.

    A detector that does not read the product's masks may do without files that are refused.
    """
    first = outcomes[0] if outcomes else None
    fatal = (CredentialsError, AccessError) if job.needs_product_mask else (CredentialsError,)
    if isinstance(first, fatal) and all(type(each) is type(first) for each in outcomes):
        raise first


def _sorted_out(job: _Job, outcomes: Mapping[str, SkyThumbnail | CloudBusterError]) -> Thumbnails:
    """Divide the outcomes into thumbnails, scenes that gather cannot use, and others."""
    by_id: dict[str, SkyThumbnail] = {}
    unusable: dict[str, str] = {}
    missing: dict[str, str] = {}
    refused = (CatalogError, *SCENE_ERRORS) if job.needs_product_mask else (CatalogError,)
    for item_id, outcome in outcomes.items():
        if isinstance(outcome, SkyThumbnail):
            by_id[item_id] = outcome
        elif isinstance(outcome, refused):
            unusable[item_id] = str(outcome)
        else:
            missing[item_id] = str(outcome)
    counts = {"read": len(by_id), "unusable": len(unusable), "missing": len(missing)}
    logger.info("thumbnails_read", extra=counts)
    return Thumbnails(by_id, unusable, missing)
