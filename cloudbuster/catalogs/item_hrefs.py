"""Hrefs of a STAC item: make them absolute, correct known mistakes, redirect them to mirrors."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote

from cloudbuster.catalogs.item_properties import kind_of
from cloudbuster.core.scenes.asset_mirror import Mirror, mirrored_href
from cloudbuster.core.scenes.bands import BANDS, Kind
from cloudbuster.errors import BadInputError
from cloudbuster.models import Item
from cloudbuster.original.documents import L1C_BUCKET, L2A_BUCKET, TILE_PATH
from cloudbuster.storage.files.uri import is_file_uri, is_remote, join, local_path, resolve

# Wrong hrefs of the L2A bucket, directly in the folder of the tile: the files are in a subfolder
# for their resolution (R10m, R20m, R60m; cirrus-earth-search#33).
_UNFOLDED_L2A = re.compile(
    rf"({re.escape(L2A_BUCKET)}/{TILE_PATH.pattern})/(B\d[\dA]|SCL|AOT|WVP)\.jp2"
)
# Finest resolution in the bucket of the files that are not bands, metres.
OTHER_GSD_M = {"SCL": 20, "AOT": 10, "WVP": 10}
# L1C bands that are said to lie in the L2A bucket: directly in the folder of the tile.
_L1C_BAND = re.compile(
    rf"{re.escape(L2A_BUCKET)}/(?P<key>{TILE_PATH.pattern}/(?:B\d[\dA]|TCI)\.jp2)"
)


def _l1c_bucket(href: str) -> str:
    """Correct the bucket of an L1C band: items before July 2023 name L2A's (earth-search#72)."""
    match = _L1C_BAND.fullmatch(href)
    return f"{L1C_BUCKET}/{match['key']}" if match else href


def _l2a_folder(href: str) -> str:
    """Add the folder of the resolution to the href of a file in the L2A bucket."""
    match = _UNFOLDED_L2A.fullmatch(href)
    if match is None:
        return href
    folder, name = match[1], match.groups()[-1]
    gsd_m = BANDS[name].gsd_m if name in BANDS else OTHER_GSD_M[name]
    return f"{folder}/R{gsd_m:g}m/{name}.jp2"


# Corrections of known mistakes in hrefs, by product level.
MENDED_HREFS: dict[Kind, Callable[[str], str]] = {"L1C": _l1c_bucket, "L2A": _l2a_folder}


def absolute_item(item: Item, base: str | None = None) -> Item:
    """Copy of an item whose asset and link hrefs are absolute.

    Parameters
    ----------
    item : dict
        STAC item. Not modified.
    base : str or None
        Folder or prefix of the item; None uses that of its self link if that is absolute.

    Returns
    -------
    dict
        Equal to ``item`` but for the hrefs. Without a base they stay as they are.
    """
    folder = base if base is not None else self_folder(item)
    if folder is None:
        return dict(item)
    resolved = partial(absolute_href, folder=folder)
    copy = _with_asset_hrefs(item, resolved)
    if isinstance(item.get("links"), list):
        copy["links"] = [_with_href(link, resolved) for link in item["links"]]
    return copy


def mended_item(item: Item) -> Item:
    """Copy of an item with known mistakes in its asset hrefs corrected; see `MENDED_HREFS`.

    Parameters
    ----------
    item : dict
        STAC item with absolute hrefs. Not modified.

    Returns
    -------
    dict
        Equal to ``item`` but for the hrefs. Correcting it twice changes nothing.
    """
    kind = kind_of(item)
    return item if kind is None else _with_asset_hrefs(item, MENDED_HREFS[kind])


def mirrored_item(item: Item, mirrors: Sequence[Mirror]) -> Item:
    """Copy of an item whose asset hrefs point to mirrors.

    Parameters
    ----------
    item : dict
        STAC item with absolute hrefs. Not modified.
    mirrors : sequence of (str, str)
        Prefixes and their replacements; see `cloudbuster.core.scenes.asset_mirror.mirrored_href`.

    Returns
    -------
    dict
        Equal to ``item`` but for the hrefs.
    """
    return _with_asset_hrefs(item, lambda href: mirrored_href(href, mirrors)) if mirrors else item


def _with_asset_hrefs(item: Item, change: Callable[[str], str]) -> Item:
    """Copy of an item with ``change`` applied to the href of each asset."""
    assets = {key: _with_href(asset, change) for key, asset in item["assets"].items()}
    return {**item, "assets": assets}


def _with_href(entry: object, change: Callable[[str], str]) -> object:
    """Copy of an asset or link with ``change`` applied to its href, if it has one."""
    if not isinstance(entry, dict) or not isinstance(entry.get("href"), str):
        return entry
    return {**entry, "href": change(entry["href"])}


def self_folder(item: Item) -> str | None:
    """Folder of the self link of an item, else of its canonical link; None if not absolute."""
    links = item.get("links")
    for rel in ("self", "canonical"):
        for link in links if isinstance(links, list) else []:
            href = link.get("href") if isinstance(link, dict) and link.get("rel") == rel else None
            if isinstance(href, str) and (is_remote(href) or href.startswith("/")):
                return href.rpartition("/")[0]
            if isinstance(href, str) and is_file_uri(href):
                return _existing([href.rpartition("/")[0]], "/")
    return None


def absolute_href(href: str, folder: str) -> str:
    """Make an href absolute.

    Parameters
    ----------
    href : str
        Address in an item or a catalog. One with another scheme than ``file:`` is unchanged.
    folder : str
        Folder or prefix that a relative one counts from.

    Returns
    -------
    str
        In a local folder the path of the file: an href may be a URI with escapes (``%20``) or a
        path of Windows, and is taken as it stands if there is no such file.
    """
    if is_remote(folder):
        if "://" in href or href.startswith("/"):
            return href
        return join(folder, href.replace("\\", "/").removeprefix("./"))
    if is_file_uri(href):
        return _existing([href], folder) or href
    if "://" in href:
        return href
    forms = [href, href.replace("\\", "/")] if "\\" in href else [href]
    if "%" in href:
        forms += [unquote(form) for form in forms]
    return (_existing(forms, folder) if len(forms) > 1 else None) or resolve(href, folder)


def _existing(hrefs: Sequence[str], folder: str) -> str | None:
    """Path of the first of some local hrefs that is there; None if none is."""
    for href in hrefs:
        try:
            path = local_path(resolve(href, folder))
        except BadInputError:
            continue
        if path.exists():
            return str(path)
    return None
