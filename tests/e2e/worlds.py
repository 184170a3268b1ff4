"""Scenes for mosaics: on disk for the catalog, and in S3 for jobs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudbuster.sample import write_sample
from tests.e2e.cloud import Cloud
from tests.factories import SceneSpec, area_of, write_scene
from tests.half_tiles import CANDIDATES, request_of, write_candidates

BUCKET = "world"


@dataclass(frozen=True)
class World:
    """Scenes, and a request that selects all of them.

    Attributes
    ----------
    folder : Path
        Folder of the scenes.
    request : dict
        Request for a mosaic on this machine.
    """

    folder: Path
    request: dict[str, Any]

    def in_s3(self, **changes: Any) -> dict[str, Any]:
        """Make the request read the scenes from S3, with other changes."""
        mirror = [f"{self.folder}/=s3://{BUCKET}/{self.folder.name}/"]
        query = {**self.request["query"], "asset_mirror": mirror}
        return {**self.request, "query": query, **changes}


def published_items(world: World) -> list[dict[str, Any]]:
    """Items of a world as a catalog publishes them: the files lie in S3."""
    items = []
    for path in sorted(world.folder.glob("S2*/*.json")):
        item = json.loads(path.read_text())
        prefix = f"s3://{BUCKET}/{world.folder.name}/{path.parent.name}"
        assets = {
            name: {**asset, "href": f"{prefix}/{asset['href']}"}
            for name, asset in item["assets"].items()
        }
        items.append({**item, "assets": assets})
    return items


def upload(cloud: Cloud, world: World) -> None:
    """Put the scenes of a world in S3."""
    s3 = cloud.client("s3")
    region = {"LocationConstraint": cloud.settings.environment()["AWS_REGION"]}
    known = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    if BUCKET not in known:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
    for path in sorted(world.folder.rglob("*")):
        if path.is_file():
            key = f"{world.folder.name}/{path.relative_to(world.folder)}"
            s3.upload_file(str(path), BUCKET, key)


def sample_world(folder: Path) -> World:
    """The sample world with its own request."""
    written = write_sample(folder, workers=2)
    request = json.loads(written.request.read_text())
    del request["output"]
    catalog = {"catalog": str(folder / request["query"]["catalog"])}
    return World(folder, {**request, "query": {**request["query"], **catalog}})


def small_world(folder: Path) -> World:
    """Three scenes of 60 by 60 cells, each clear where the others are cloudy."""
    cloud = 9
    thirds = [slice(0, 10), slice(10, 20), slice(20, 30)]
    specs = [
        SceneSpec(
            id=f"S2A_33TWL_202305{day:02}_0_L2A",
            datetime=f"2023-05-{day:02}T10:00:00Z",
            dn=500 + 100 * day,
            scl=[(rows, slice(None), cloud)],
        )
        for day, rows in zip((10, 15, 20), thirds, strict=True)
    ]
    for spec in specs:
        write_scene(folder, spec)
    request = {
        "name": "small",
        "aoi": area_of(specs[0]),
        "query": {
            "catalog": str(folder),
            "mindate": ["2023-05-01"],
            "maxdate": ["2023-05-31"],
        },
        # Strategy clear would leave out a scene that the others make dispensable.
        "filter": {"strategy": "original", "coverage_count": 3, "backstop": False},
        "gather": {"bands": ["B02", "B03", "B04", "B08"], "dilate_m": 0},
    }
    return World(folder, request)


def half_world(folder: Path) -> World:
    """Six half tiles, the last of which has lost a band: another one takes its place."""
    write_candidates(folder)
    catalog = folder / "catalog"
    (catalog / CANDIDATES[-1].id / "B04.tif").unlink()
    request = json.loads(request_of(folder).to_json())
    del request["output"]
    return World(catalog, request)


def torn_world(folder: Path) -> World:
    """The small world with one scene whose files are truncated."""
    world = small_world(folder)
    torn = sorted(folder.glob("S2*"))[1]
    for path in torn.glob("B*.tif"):
        path.write_bytes(path.read_bytes()[:200])
    return world
