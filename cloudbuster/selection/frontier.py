"""The table of what each further scene adds to the share of the area that is seen clear."""

from cloudbuster.models import (
    Item,
    Selection,
)
from cloudbuster.storage.files.uri import is_remote, local_path


def frontier_lines(selection: Selection) -> list[str]:
    """Describe what each pick adds to what is seen clear, for people.

    Parameters
    ----------
    selection : Selection
        Selection of strategy `clear`.

    Returns
    -------
    list of str
        A heading, and one line for each pick: number of scenes, share of the area that they see
        clear, what the last one adds, the size of the files so far, and its id.
        With strategy `original` one line that says that there is no such table.
    """
    info = selection.cloudbuster
    if info.strategy != "clear":
        return ["strategy original does not measure what scenes show clear: --strategy clear does"]
    sizes = {str(item.get("id")): _file_bytes(item) for item in selection.features}
    lines = ["scenes   clear    adds  megabytes  scene"]
    total, known = 0, True
    for number, entry in enumerate(info.entries, start=1):
        size = sizes[entry.item_id]
        known = known and size > 0
        total += size
        amount = f"{total / 1e6:9.1f}" if known else f"{'unknown':>9}"
        clear, adds = 100 * (entry.clear_fraction or 0), 100 * (entry.weight or 0)
        lines.append(f"{number:6}  {clear:5.2f} %  {adds:5.2f} %  {amount}  {entry.item_id}")
    bound = info.optimum_bound
    if bound is not None:
        lines.append(f"no {len(info.entries)} scenes show more than {100 * bound:.2f} % clear")
    return lines


def _file_bytes(item: Item) -> int:
    """Return the size of an item's files: those on this machine, or as ``file:size`` says.

    It is 0 if nothing says how large one of its data files is.
    """
    assets = item.get("assets")
    total = 0
    for asset in assets.values() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict) or "data" not in (asset.get("roles") or ["data"]):
            continue
        size = asset.get("file:size") or _local_bytes(asset.get("href"))
        if not isinstance(size, int) or size <= 0:
            return 0
        total += size
    return total


def _local_bytes(href: object) -> int:
    """Return the size of a file of this machine; 0 if it is elsewhere or missing."""
    if not isinstance(href, str) or is_remote(href):
        return 0
    try:
        return local_path(href).stat().st_size
    except OSError:
        return 0
