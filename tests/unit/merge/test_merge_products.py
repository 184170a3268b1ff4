"""Products of a merge: their names, the same bytes every time, replaced together or not at all."""

import logging
from pathlib import Path
from unittest import mock

import orjson
import pytest

from cloudbuster import merge
from cloudbuster.errors import OutputError
from cloudbuster.events import Event
from cloudbuster.merge import MosaicRecipe, merge_scenes, product_paths
from cloudbuster.models import MergeResult
from cloudbuster.products import blocks as mosaic_blocks
from tests.hand_made import merged, spec, write_gathered, write_three


def test_merge_result_names_the_products_and_their_shares(tmp_path: Path) -> None:
    write_three(tmp_path)
    result = merged(tmp_path)
    # Two scenes, of which one is the backstop too.
    assert result.scene_count == 2
    assert (result.clear_fraction, result.backstop_fraction) == (0.5, 0.25)
    assert result.hole_fraction == 0.25
    named = result.model_dump(include=set(product_paths("x", "m")))
    assert named == product_paths(str(tmp_path), "m")
    for path in named.values():
        assert Path(path).is_file()
    rest = {path.name for path in tmp_path.iterdir()} - {Path(path).name for path in named.values()}
    assert rest == {"scenes"}
    table = orjson.loads(Path(result.item).read_bytes())["properties"]["cloudbuster:scenes"]
    assert [(row["index"], row["backstop"], row["share"]) for row in table] == [
        (1, False, 0.25),
        (2, False, 0.25),
        (3, True, 0.25),
    ]


def test_merge_does_not_depend_on_the_order_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_three(tmp_path)
    first = {path.name: path.read_bytes() for path in products(merged(tmp_path))}
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listing(path), reverse=True)))
    second = {path.name: path.read_bytes() for path in products(merged(tmp_path))}
    assert first == second


def products(result: MergeResult) -> list[Path]:
    return [Path(path) for path in product_paths(str(Path(result.item).parent), "m").values()]


def test_merge_into_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    write_three(tmp_path)
    here = products(merged(tmp_path))
    elsewhere = merge_scenes(
        str(tmp_path / "scenes"), str(tmp_path / "a" / "b c"), MosaicRecipe("m")
    )
    for one, other in zip(here, products(elsewhere), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_an_interrupted_merge_keeps_the_products_that_were_there(tmp_path: Path) -> None:
    write_three(tmp_path)
    before = {path: path.read_bytes() for path in products(merged(tmp_path))}
    write_gathered(tmp_path / "scenes", spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]]))

    def interrupt(_event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merged(tmp_path, on_event=interrupt)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", *(p.name for p in before)}


@pytest.mark.parametrize("stage", ["write_preview", "write_report", "write_item"])
def test_a_merge_that_fails_late_keeps_the_products_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    write_three(tmp_path)
    before = {path: path.read_bytes() for path in products(merged(tmp_path))}
    write_gathered(tmp_path / "scenes", spec(1, [[3, 3, 3, 3], [3, 3, 3, 3]]))
    monkeypatch.setattr(merge, stage, mock.Mock(side_effect=OutputError("no")))
    with pytest.raises(OutputError):
        merged(tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", *(p.name for p in before)}


def test_merge_reports_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mosaic_blocks, "BLOCK_SIZE", 2)
    write_three(tmp_path)
    events: list[Event] = []
    with caplog.at_level(logging.INFO, logger="cloudbuster.merge"):
        merged(tmp_path, on_event=events.append)
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("merge", 1, 3),
        ("merge", 2, 3),
        ("merge", 3, 3),
    ]
    assert [record.message for record in caplog.records] == ["mosaic_merged"]
