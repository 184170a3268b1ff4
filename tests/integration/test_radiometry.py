"""The radiometric decision on the sample world and on real scenes: each right, whatever is said."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudbuster.catalogs.item_hrefs import absolute_item
from cloudbuster.catalogs.schema import parse_scene
from cloudbuster.core.grids.windows import cells_of_size
from cloudbuster.core.offsets.offset_metadata import OffsetMetadata, Treatment, offset_metadata
from cloudbuster.core.offsets.offset_pixels import pixel_evidence
from cloudbuster.core.offsets.radiometry import decide_offset
from cloudbuster.core.scenes.scene import Scene
from cloudbuster.detectors.s2cloudless import MODEL_BANDS, S2CloudlessDetector
from cloudbuster.source.radiometry import decide_radiometry
from cloudbuster.source.scene_source import RasterSceneSource
from cloudbuster.storage.rasters.gdal_env import gdal_env
from tests.integration.conftest import SampleRun

BANDS = ("B02", "B03", "B04", "B08")
# What is said of a scene: everything that a provider may say, right or wrong.
TREATMENTS: tuple[Treatment | None, ...] = ("kept", "mixed", None)
SAID = [
    OffsetMetadata(baseline, flag, declared, treatment)
    for baseline, flag, declared in itertools.product(
        ("03.01", "05.09"), (True, False, None), (-0.1, 0.0)
    )
    for treatment in TREATMENTS
]


def scenes_of(root: Path) -> list[Scene]:
    found = []
    for path in sorted(root.rglob("*.json")):
        item = json.loads(path.read_bytes())
        if isinstance(item, dict) and item.get("type") == "Feature":
            item = absolute_item(item, str(path.parent))
            found.append(parse_scene(item, catalog="test"))
    return found


def shifted(dn: np.ndarray, shift: int) -> np.ndarray:
    moved = np.where(dn > 0, np.maximum(dn.astype(np.int64) + shift, 1), 0)
    return moved.astype(np.uint16)


def assert_decided_right(scene: Scene, *, has_offset: bool) -> None:
    """Both states of the pixels, with everything that may be said of them."""
    wanted = tuple(name for name in BANDS if name in scene.bands)
    with gdal_env(), RasterSceneSource(scene, wanted) as source:
        thumbnail = source.thumbnail()
    for offset_in_pixels in (True, False):
        dn = shifted(thumbnail.dn, 1000 * (offset_in_pixels - has_offset))
        pixels = pixel_evidence(dn, thumbnail.names)
        for metadata in SAID:
            decision = decide_offset(metadata, pixels=pixels)
            case = (scene.id, offset_in_pixels, metadata, pixels)
            assert decision.offset_dn == (-1000 if offset_in_pixels else 0), case
            assert decision.confident, case
            assert (set(metadata.statements.values()) == {offset_in_pixels}) is not (
                decision.conflict
            ), case


def test_every_scene_of_the_sample_world_is_decided_right_whatever_is_said(
    sample_run: SampleRun,
) -> None:
    truth = json.loads((sample_run.world / "truth" / "truth.json").read_text())
    offset_of = {scene["id"]: scene["offset_dn"] for scene in truth["scenes"]}
    judged = 0
    for scene in scenes_of(sample_run.world / "catalog"):
        # The truth tells of the L2A products; L1C is always as its baseline has it.
        made = float(scene.baseline or 0) >= 4
        assert_decided_right(scene, has_offset=bool(offset_of.get(scene.id, made)))
        judged += 1
    assert judged == 34


def test_the_decisions_of_a_selection_know_no_order(sample_run: SampleRun) -> None:
    scenes = [scene for scene in scenes_of(sample_run.world / "catalog") if scene.kind == "L2A"]
    wanted = ("B02", "B04")
    decisions = decide_radiometry(scenes, wanted)
    assert decisions == decide_radiometry(scenes[::-1], wanted)
    assert len(decisions) == len(scenes)
    assert all(decision.confident for decision in decisions.values())
    assert decide_radiometry(scenes, wanted, known=decisions) == decisions


def copied(source: Scene, folder: Path, *, shift: int, paint: Any = None, **changes: Any) -> Scene:
    """A copy of a scene's requested bands on disk, shifted; cloud where ``paint`` is True."""
    home = folder / f"{source.id}-{shift}"
    home.mkdir()
    files = {}
    for name, asset in {**{name: source.bands[name] for name in BANDS}, **source.masks}.items():
        with rasterio.open(asset.href) as dataset:
            profile, dn = dataset.profile, dataset.read()
        if paint is not None and name in (*BANDS, "scl"):
            dn[:, paint] = 9 if name == "scl" else 6000
        files[name] = replace(asset, href=str(home / f"{name}.tif"))
        with rasterio.open(files[name].href, "w", **profile) as target:
            target.write(shifted(dn, shift) if name in BANDS else dn)
    return replace(
        source,
        bands={name: files[name] for name in BANDS},
        masks={name: files[name] for name in source.masks},
        **changes,
    )


@pytest.mark.real_data
def test_every_real_crop_is_decided_right_whatever_is_said(test_data: Path) -> None:
    scenes = scenes_of(test_data / "l2a-slovenia-crops")
    assert len(scenes) == 10
    for scene in scenes:
        # `index.json` and the pixels say so: these products had it removed.
        assert_decided_right(scene, has_offset=False)


@pytest.mark.real_data
@pytest.mark.parametrize("baseline", ["03.01", "05.09"])
@pytest.mark.parametrize("flag", [True, False])
def test_a_shifted_real_crop_reads_as_the_one_without_offset(
    test_data: Path, tmp_path: Path, baseline: str, *, flag: bool
) -> None:
    for scene in scenes_of(test_data / "l2a-slovenia-crops")[:2]:
        said: dict[str, Any] = {"baseline": baseline, "offset_removed_flag": flag}
        plain = copied(scene, tmp_path, shift=0, **said)
        moved = copied(scene, tmp_path, shift=1000, **said)
        with (
            gdal_env(),
            RasterSceneSource(plain, BANDS) as first,
            RasterSceneSource(moved, BANDS) as second,
        ):
            assert second.radiometry.verdict == "present"
            assert first.radiometry.verdict == ("removed" if baseline == "05.09" else "none")
            for gsd_m in (120.0, 480.0, 500.0):
                grid = cells_of_size(first.grid, first.grid, gsd_m)
                np.testing.assert_array_equal(first.read(BANDS, grid), second.read(BANDS, grid))


@pytest.mark.real_data
@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("flag", [True, False])
def test_a_real_scene_in_doubt_is_settled_by_its_neighbours(
    test_data: Path, tmp_path: Path, shift: int, *, flag: bool
) -> None:
    scenes = [
        scene for scene in scenes_of(test_data / "l2a-slovenia-crops") if scene.mgrs_tile == "33TWL"
    ]
    (clear,) = (scene for scene in scenes if "20230815" in scene.id)
    others = [scene for scene in scenes if scene is not clear]
    dark = np.zeros((200, 300), dtype=bool)
    for name in BANDS[:3]:
        with rasterio.open(clear.bands[name].href) as dataset:
            dark |= dataset.read(1) < 1350
    assert 100 < (~dark).sum() < 5000
    # All but the brightest ground turns to cloud: by itself the scene could be either.
    scene = copied(clear, tmp_path, shift=shift, paint=dark, offset_removed_flag=flag)
    alone = decide_radiometry([scene], BANDS)[scene.id]
    settled = decide_radiometry([*others, scene], BANDS)[scene.id]
    assert settled.offset_dn == -shift
    assert settled.confident
    assert settled.conflict is (flag is (shift == 1000))
    assert decide_radiometry([scene, *others[::-1]], BANDS)[scene.id] == settled
    assert not alone.confident
    assert alone.offset_dn == (0 if flag else -1000)
    assert "overlapping" in settled.evidence[-1]


@pytest.mark.real_data
@pytest.mark.parametrize("baseline", ["02.04", "05.09"])
def test_a_real_scene_that_is_all_cloud_is_not_flipped(test_data: Path, baseline: str) -> None:
    (cloudy,) = (
        scene
        for scene in scenes_of(test_data / "l1c-slovenia-5dates")
        if scene.id.endswith("20150820T100728")
    )
    visible = {name: cloudy.bands[name] for name in BANDS}
    for offset, offset_dn in ((0.0, -1000), (-0.1, -1000)):
        said = replace(cloudy, bands=visible, baseline=baseline, declared_offset=offset)
        with gdal_env(), RasterSceneSource(said, BANDS) as source:
            assert source.radiometry.offset_dn == (offset_dn if baseline == "05.09" else 0)
            assert not source.radiometry.confident
    # Its cirrus band tells.
    with gdal_env(), RasterSceneSource(replace(cloudy, baseline=baseline), BANDS) as source:
        assert source.radiometry.offset_dn == 0
        assert source.radiometry.confident


def with_offset(scene: Scene, folder: Path) -> Scene:
    """A copy of an L1C scene as baseline 05.00 would have made it."""
    href = next(iter(scene.bands.values())).href
    with rasterio.open(href) as dataset:
        profile, dn = dataset.profile, dataset.read()
    path = folder / Path(href).name
    with rasterio.open(path, "w", **profile) as target:
        target.write(shifted(dn, 1000))
    bands = {name: replace(asset, href=str(path)) for name, asset in scene.bands.items()}
    return replace(scene, bands=bands, baseline="05.00", declared_offset=-0.1)


@pytest.mark.real_data
def test_s2cloudless_on_a_harmonised_scene_is_the_same_bit_for_bit(
    test_data: Path, tmp_path: Path
) -> None:
    scenes = scenes_of(test_data / "l1c-slovenia-5dates")
    assert len(scenes) == 5
    for scene in scenes:
        moved = with_offset(scene, tmp_path)
        with (
            gdal_env(),
            RasterSceneSource(scene, MODEL_BANDS) as plain,
            RasterSceneSource(moved, MODEL_BANDS) as harmonised,
        ):
            assert plain.radiometry.offset_dn == 0
            assert harmonised.radiometry.offset_dn == -1000
            for gsd_m in (10.0, 160.0):
                grid = cells_of_size(plain.grid, plain.grid, gsd_m)
                first, second = (each.read(MODEL_BANDS, grid) for each in (plain, harmonised))
                np.testing.assert_array_equal(first, second)
            detector = S2CloudlessDetector(mask_gsd_m=40.0)
            masks = [detector.detect(each, plain.grid) for each in (plain, harmonised)]
            np.testing.assert_array_equal(masks[0].cloud, masks[1].cloud)
            np.testing.assert_array_equal(masks[0].defective, masks[1].defective)


@pytest.mark.real_data
def test_s2cloudless_fails_where_the_offset_is_left_in(test_data: Path, tmp_path: Path) -> None:
    clear = [
        scene
        for scene in scenes_of(test_data / "l1c-slovenia-5dates")
        if scene.id[8:16] in ("20150711", "20150830", "20150909")
    ]
    for scene in clear:
        wrong = replace(with_offset(scene, tmp_path), baseline="02.04")
        believed = decide_offset(offset_metadata(wrong))
        assert believed.offset_dn == -1000 * (wrong.declared_offset == 0)
        with gdal_env(), RasterSceneSource(wrong, MODEL_BANDS, radiometry=believed) as left_in:
            cloud = S2CloudlessDetector(mask_gsd_m=10.0).detect(left_in, left_in.grid).cloud
        with gdal_env(), RasterSceneSource(wrong, MODEL_BANDS) as decided:
            assert decided.radiometry.conflict
            clean = S2CloudlessDetector(mask_gsd_m=10.0).detect(decided, decided.grid).cloud
        assert cloud.mean() > 0.99
        assert clean.mean() < 0.01
