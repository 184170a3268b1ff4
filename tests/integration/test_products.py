"""Products as they are downloaded give the pixels that the COGs of the same scenes give."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudbuster.inputs.request_files import load_request
from cloudbuster.models import MosaicRequest, RunResult
from cloudbuster.runs.pipeline import run
from cloudbuster.sample import SampleWorld
from cloudbuster.sample.safe import write_products


@pytest.fixture(scope="module")
def products(sample_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes of the sample world as SAFE folders, every other one zipped."""
    folder = tmp_path_factory.mktemp("products")
    for number, product in enumerate(write_products(sample_world.folder, folder / "safe")):
        if number % 2:
            with zipfile.ZipFile(folder / "safe" / f"{product.name}.zip", "w") as archive:
                for file in sorted(product.rglob("*")):
                    archive.write(file, file.relative_to(product.parent))
            product.rename(folder / product.name)
    return folder / "safe"


def mosaic_of(request: MosaicRequest, catalog: Path, day: str, output: Path) -> RunResult:
    """The mosaic of one day, seen once."""
    changed = request.model_dump(mode="json", by_alias=True)
    changed["query"] |= {"catalog": str(catalog), "mindate": day, "maxdate": day}
    changed["filter"] |= {"coverage_count": 1}
    # The networks of csmask may see a cell differently after a change of one DN.
    changed["gather"] |= {"bands": ["B04", "B8A", "B09"], "detector": {"type": "stock"}}
    return run(MosaicRequest.model_validate({**changed, "output": str(output)}))


@pytest.mark.parametrize(
    # In the sample's COGs the offset was never there, is there, and was removed.
    "day",
    ["2023-05-10", "2023-06-04", "2023-07-09"],
)
def test_safe_folders_and_zips_give_the_same_pixels_as_cogs(
    sample_world: SampleWorld, products: Path, tmp_path: Path, day: str
) -> None:
    request = load_request(str(sample_world.request))

    of_cogs = mosaic_of(request, sample_world.catalog, day, tmp_path / "cogs")
    of_products = mosaic_of(request, products, day, tmp_path / "products")

    for key in ("cloudless", "cloudy", "quality"):
        paths = getattr(of_cogs.products, key), getattr(of_products.products, key)
        expected, found = (rasterio.open(path).read() for path in paths)
        np.testing.assert_array_equal(found, expected)
