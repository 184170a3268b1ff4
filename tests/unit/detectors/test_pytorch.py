import io
import pickle
import zipfile

import numpy as np
import pytest
import rasterio
import torch
from scipy import ndimage

from cloudbuster.core.grids.grid import GridWindow
from cloudbuster.core.scenes.bands import BANDS_BY_KIND
from cloudbuster.detectors import extras, pytorch
from cloudbuster.detectors.pytorch import PytorchDetector
from cloudbuster.errors import BadInputError, MissingExtraError, UntrustedCodeError
from tests.unit.detectors.fakes import FakeSource, grid_of, scene_of

BANDS = BANDS_BY_KIND["L2A"]
THRESHOLD = 3000

# Logit: B02 - 3000, by a convolution of one cell.
THRESHOLD_NET = """
import torch

def make_model(num_channels, input_stride, class_count, divisor, pretrained):
    assert (input_stride, class_count, divisor, pretrained) == (1, 1, 1, False)
    return torch.nn.Conv2d(num_channels, class_count, 1)
"""
# Logit: mean of B02 over 5 by 5 cells - 3000.
MEAN_NET = THRESHOLD_NET.replace("class_count, 1)", "class_count, 5, padding=2)")
# The same in a dict, as the original's models return it.
DICT_NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        return {"2seg": self.conv(x), "reg": x.mean()}

def make_model(num_channels, **kwargs):
    return Net(num_channels)
"""
# A model without weights that returns an expression of its input.
RETURNING_NET = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return {expression}

def make_model(num_channels, **kwargs):
    return Net()
"""


class ThresholdNet(torch.nn.Module):
    """Logit: mean of B02 over ``size`` by ``size`` cells, minus 3000."""

    def __init__(self, size=1):
        super().__init__()
        self.conv = torch.nn.Conv2d(len(BANDS), 1, size, padding=size // 2)
        weight = torch.zeros_like(self.conv.weight)
        weight[0, BANDS.index("B02")] = 1 / size**2
        self.conv.weight = torch.nn.Parameter(weight)
        self.conv.bias = torch.nn.Parameter(torch.tensor([-float(THRESHOLD)]))

    def forward(self, x):
        return self.conv(x)


def state_of(net, prefix=""):
    return {f"{prefix}{name.partition('.')[2]}": value for name, value in net.state_dict().items()}


def save(path, content):
    torch.save(content, path)
    return str(path)


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "threshold.py"
    path.write_text(THRESHOLD_NET)
    return str(path)


@pytest.fixture
def weights(tmp_path):
    return save(tmp_path / "threshold.pth", state_of(ThresholdNet()))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """`ThresholdNet` as an exported program; the first export of a process takes seconds."""
    return exported(tmp_path_factory.mktemp("program") / "net.pt2", ThresholdNet())


@pytest.fixture
def mean_net(tmp_path):
    """Weights and architecture of `MEAN_NET`."""
    path = tmp_path / "mean.py"
    path.write_text(MEAN_NET)
    return save(tmp_path / "mean.pth", state_of(ThresholdNet(5))), str(path)


@pytest.fixture
def returning(tmp_path):
    """Make a detector whose model has no weights and returns an expression of ``x``."""

    def make(expression):
        path = tmp_path / "returning.py"
        path.write_text(RETURNING_NET.format(expression=expression))
        return trusted(save(tmp_path / "none.pth", {}), str(path))

    return make


def scripted(path, net):
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, len(BANDS), 8, 8)), path)
    return str(path)


def exported(path, net, **options):
    torch.export.save(
        torch.export.export(net, (torch.zeros(1, len(BANDS), 512, 512),), **options), path
    )
    return str(path)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of 128 cells of which 96 are kept, so that a small scene has seams."""
    monkeypatch.setattr(pytorch, "WINDOW_CELLS", 128)
    monkeypatch.setattr(pytorch, "CONTEXT_CELLS", 16)


def source_of(blue, gsd_m=10):
    """Make a scene with ``blue`` in B02; the other bands hold 1."""
    blue = np.asarray(blue, dtype=np.uint16)
    pixels = {name: np.ones_like(blue) for name in BANDS}
    return FakeSource(
        scene_of("L2A"), grid_of(blue.shape[0], blue.shape[1], gsd_m), {**pixels, "B02": blue}
    )


def random_blue(height, width):
    return np.random.default_rng(5).integers(1, 6000, (height, width), dtype=np.uint16)


def trusted(weights, architecture=None, bands=BANDS, **options):
    return PytorchDetector(
        bands, weights=weights, architecture=architecture, trust_architecture=True, **options
    )


# 768 is two steps of 384; the others end inside a window, or one cell before or after its end.
@pytest.mark.parametrize("shape", [(768, 385), (769, 20), (3, 900)])
def test_every_cell_is_predicted_the_last_row_and_column_too(shape, weights, architecture):
    blue = random_blue(*shape)
    blue[-1], blue[:, -1] = 5000, 5000
    source = source_of(blue)
    mask = trusted(weights, architecture).detect(source, source.grid)
    assert mask.grid == source.grid
    np.testing.assert_array_equal(mask.cloud, blue > THRESHOLD)
    assert not mask.defective.any()
    assert not mask.low_rank.any()


@pytest.mark.usefixtures("small_windows")
def test_seams_do_not_show_and_the_scene_is_mirrored_at_its_edges(mean_net):
    blue = random_blue(110, 140)
    source = source_of(blue)
    mask = trusted(*mean_net).detect(source, source.grid)
    mean = ndimage.uniform_filter(blue.astype(np.float64), 5, mode="reflect")
    sure = np.abs(mean - THRESHOLD) > 0.01
    np.testing.assert_array_equal(mask.cloud[sure], (mean > THRESHOLD)[sure])


@pytest.mark.usefixtures("small_windows")
def test_the_result_does_not_depend_on_the_area(mean_net):
    source = source_of(random_blue(140, 130))
    detector = trusted(*mean_net)
    whole = detector.detect(source, source.grid)
    window = GridWindow(80, 87, 33, 21)
    part = detector.detect(source, source.grid.crop(window))
    assert part.grid == source.grid.crop(window)
    np.testing.assert_array_equal(part.cloud, whole.cloud[window.slices])


def test_cells_without_data_are_defective_and_never_cloud(weights, architecture):
    blue = np.full((4, 5), 5000)
    source = source_of(blue)
    source.pixels["B12"][1, 2] = 0
    source.pixels["B01"][2, 2] = 65535
    mask = trusted(weights, architecture).detect(source, source.grid)
    expected = np.zeros((4, 5), dtype=bool)
    expected[1:3, 2] = True
    np.testing.assert_array_equal(mask.defective, expected)
    np.testing.assert_array_equal(mask.cloud, ~expected)


def test_windows_without_data_are_not_predicted(architecture, weights, monkeypatch):
    source = source_of(np.zeros((5, 5)))
    monkeypatch.setattr(PytorchDetector, "_predict", None)
    mask = trusted(weights, architecture).detect(source, source.grid)
    assert mask.defective.all()


def test_a_logit_that_is_nan_makes_a_cell_defective(returning):
    source = source_of([[2999, THRESHOLD, 3001]])
    # 1, and 0 / 0 where B02 is 3000.
    detector = returning("(x[:, 1] - 3000) / (x[:, 1] - 3000)")
    mask = detector.detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[True, False, True]])
    np.testing.assert_array_equal(mask.defective, [[False, True, False]])


def test_a_model_may_return_a_dict_with_2seg(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(DICT_NET)
    weights = save(tmp_path / "net.pth", state_of(ThresholdNet(), "conv."))
    source = source_of([[2999, 3000, 3001]])
    mask = trusted(weights, str(path)).detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[False, False, True]])


@pytest.mark.parametrize("kind", ["scripted", "exported"])
def test_torchscript_and_exported_programs_are_code_that_needs_trust(tmp_path, program, kind):
    source = source_of([[2999, 3000, 3001]])
    weights = program if kind == "exported" else scripted(tmp_path / "net.pt", ThresholdNet())
    with pytest.raises(UntrustedCodeError, match=r"net\.pt2? is code.*--trust-architecture"):
        PytorchDetector(BANDS, weights=weights).detect(source, source.grid)
    mask = trusted(weights).detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [[False, False, True]])


def test_mask_gsd_is_the_cell_size_of_the_models_input(program):
    source = source_of([[2000, 5000], [5000, 5000]])
    mask = trusted(program, mask_gsd_m=20).detect(source, source.grid)
    assert mask.grid == grid_of(1, 1, 20)
    assert mask.cloud.all()
    assert mask.detector.startswith("pytorch weights=")
    assert mask.detector.endswith(" gsd_m=20")


def test_untrusted_code_does_not_run(tmp_path, weights):
    marker = tmp_path / "ran"
    path = tmp_path / "evil.py"
    path.write_text(f"open({str(marker)!r}, 'w').close()")
    with pytest.raises(UntrustedCodeError, match="--trust-architecture"):
        PytorchDetector(BANDS, weights=weights, architecture=str(path))
    assert not marker.exists()


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_in_a_weights_file_does_not_run(tmp_path, architecture, capsys):
    source = source_of([[1]])
    with pytest.raises(BadInputError, match="is not a state dict"):
        trusted(save(tmp_path / "evil.pth", {"weight": Evil()}), architecture).detect(
            source, source.grid
        )
    assert capsys.readouterr().out == ""


def packed(path, compression=zipfile.ZIP_STORED, **replaced):
    """Write a state dict of torch as an archive, with some of its entries replaced."""
    plain = io.BytesIO()
    torch.save(state_of(ThresholdNet()), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", compression) as new:
        for entry in old.namelist():
            name = entry.rpartition("/")[2]
            new.writestr(entry, replaced.get(name, old.read(entry)))
    return str(path)


def _deflated(path):
    packed(path, zipfile.ZIP_DEFLATED)


def _bomb(path):
    packed(path, zipfile.ZIP_DEFLATED, version=b"0" * 10_000_000)


def _broken_directory(path):
    packed(path)
    content = bytearray(path.read_bytes())
    # The central directory begins with this signature; its length of names is made too large.
    place = content.index(b"PK\x01\x02")
    content[place + 28 : place + 30] = b"\xff\xff"
    path.write_bytes(content)


def _broken_pickle(path):
    packed(path, **{"data.pkl": b"\x80\x02}q\x00(X\xff\xff\xff\x7fweight"})


def _short_record(path):
    packed(path, **{"0": b"1234"})


def _huge_array(path):
    # bytearray(2**40), which the unpickler allows.
    path.write_bytes(pickle.dumps({"weight": Huge()}, protocol=2))


class Huge:
    def __reduce__(self):
        return (bytearray, (2**40,))


def _meta(path):
    torch.save({"weight": torch.zeros(1, device="meta"), "bias": torch.zeros(1)}, path)


def _sparse(path):
    torch.save({"weight": torch.zeros(1, 12).to_sparse(), "bias": torch.zeros(1)}, path)


def _other_keys(path):
    torch.save({5: torch.zeros(1)}, path)


def test_a_state_dict_needs_an_architecture(weights):
    with pytest.raises(BadInputError, match="--architecture"):
        trusted(weights).detect(source_of([[1]]), grid_of(1, 1))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def make_model(", "cannot be run: SyntaxError"),
        ("import there_is_no_such_package", "cannot be run: ModuleNotFoundError"),
        ("1 / 0", "cannot be run: ZeroDivisionError: division by zero"),
        ("model = 1", r"no function make_model\(num_channels"),
        ("def make_model(channels): pass", r"make_model\(12, ...\) failed: TypeError"),
        ("def make_model(*a, **k): return 3", "returned a int, not a torch.nn.Module"),
        (THRESHOLD_NET.replace("count, 1)", "count, 3)"), "does not fit the model of"),
    ],
    ids=["syntax", "import", "error", "missing", "arguments", "type", "weights"],
)
def test_a_bad_architecture_raises_one_clear_line(tmp_path, weights, code, words):
    path = tmp_path / "net.py"
    path.write_text(code)
    with pytest.raises(BadInputError, match=words) as caught:
        trusted(weights, str(path)).detect(source_of([[1]]), grid_of(1, 1))
    assert "\n" not in str(caught.value)


def _not_a_model(path):
    path.write_bytes(b"not a model")


def _empty(path):
    path.write_bytes(b"")


def _a_list(path):
    torch.save([1, 2], path)


def _no_program(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/models/model.json", "{}")


def _no_script(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/constants.pkl", "")


@pytest.mark.parametrize(
    "write",
    [
        *(_not_a_model, _empty, _a_list, _no_program, _no_script, _deflated, _bomb),
        *(_broken_directory, _broken_pickle, _short_record, _huge_array, _meta, _sparse),
        _other_keys,
    ],
)
def test_files_that_are_not_weights_raise_one_clear_line(tmp_path, architecture, write):
    path = tmp_path / "model.pth"
    write(path)
    with pytest.raises(BadInputError, match=r"model\.pth") as caught:
        trusted(str(path), architecture).detect(source_of([[1]]), grid_of(1, 1))
    assert "\n" not in str(caught.value)


def test_a_missing_weights_file_raises_bad_input_error(tmp_path, architecture):
    with pytest.raises(BadInputError, match="check the path"):
        trusted(str(tmp_path / "none.pth"), architecture).detect(source_of([[1]]), grid_of(1, 1))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("x[:, :1, ::2, ::2]", r"returns shape \(1, 1, 256, 256\), not \(1, 1, 512, 512\)"),
        ("dict(cloud=x[:, :1])", "returns a dict of cloud, without '2seg'"),
        ("(x[:, :1], x)", "returns a tuple"),
    ],
)
def test_an_unusable_output_of_a_model_raises_bad_input_error(returning, expression, words):
    with pytest.raises(BadInputError, match=words):
        returning(expression).detect(source_of([[1]]), grid_of(1, 1))


def test_a_model_of_other_channels_raises_bad_input_error(program):
    detector = trusted(program, bands=BANDS[:4])
    with pytest.raises(BadInputError, match="does not accept a window of 1 x 4 x 512 x 512"):
        detector.detect(source_of([[1]]), grid_of(1, 1))


def test_the_detector_goes_to_another_process_without_its_model(weights, architecture):
    source = source_of([[2999, 3001]])
    detector = trusted(weights, architecture)
    first = detector.detect(source, source.grid)
    copied = pickle.loads(pickle.dumps(detector))  # noqa: S301
    assert len(pickle.dumps(detector)) < 1000
    np.testing.assert_array_equal(copied.detect(source, source.grid).cloud, first.cloud)


def test_a_missing_package_names_the_command_that_brings_it(monkeypatch, weights):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloudbuster\[torch\]'"):
        PytorchDetector(BANDS, weights=weights)


@pytest.mark.real_data
def test_a_threshold_on_blue_finds_the_labelled_clouds(test_data, tmp_path, architecture):
    folder = test_data / "toa-labelled-dlr"
    with rasterio.open(folder / "sentinel2_toa_6band.tif") as dataset:
        blue = np.rint(dataset.read(1) * 10_000).astype(np.uint16)
    with rasterio.open(folder / "sentinel2_labels.tif") as dataset:
        labelled = dataset.read(1) == 4
    # Blue above 0.23 is the best single threshold here: it is right for 96.7 % of the pixels.
    net = ThresholdNet()
    net.conv.bias = torch.nn.Parameter(torch.tensor([-2300.0]))
    source = source_of(blue, 30)
    weights = save(tmp_path / "blue.pth", state_of(net))
    mask = trusted(weights, architecture).detect(source, source.grid)
    assert (mask.cloud == labelled).mean() > 0.96


class Classes(torch.nn.Module):
    """Four classes by B02: the class is its thousands."""

    def forward(self, x):
        blue = x[:, 1:2]
        return -torch.abs(blue / 1000 - torch.arange(4.0).view(1, 4, 1, 1))


class ClassNumbers(torch.nn.Module):
    """The same as one layer of integers."""

    def forward(self, x):
        return torch.floor(x[:, 1] / 1000).to(torch.int64)


class NanInOneClass(torch.nn.Module):
    def forward(self, x):
        blue = x[:, 1:2]
        return torch.cat([blue * 0, blue, blue / (blue - 2000) * (blue - 2000)], dim=1)


@pytest.fixture(scope="module", params=[Classes(), ClassNumbers()], ids=["values", "numbers"])
def class_program(request, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("classes") / "net.pt2", request.param)


@pytest.mark.parametrize(
    ("classes", "cloud"),
    [((1, 2), [False, True, True, False]), ((3,), [False, False, False, True])],
)
def test_the_named_classes_of_a_model_are_cloud(class_program, classes, cloud):
    source = source_of([[1, 1000, 2000, 3000]])
    weights = class_program
    mask = trusted(weights, cloud_classes=classes).detect(source, source.grid)
    np.testing.assert_array_equal(mask.cloud, [cloud])
    assert mask.detector.endswith(f" cloud_classes={','.join(map(str, classes))}")


def test_a_cell_with_nan_in_one_class_is_defective(tmp_path):
    source = source_of([[1999, 2000, 2001]])
    weights = exported(tmp_path / "net.pt2", NanInOneClass())
    mask = trusted(weights, cloud_classes=(1,)).detect(source, source.grid)
    np.testing.assert_array_equal(mask.defective, [[False, True, False]])


@pytest.mark.parametrize(
    ("net", "classes", "words"),
    [
        (Classes(), None, "returns 4 classes; say which of 0 to 3 are cloud with --cloud-classes"),
        (Classes(), (1, 4), "returns classes 0 to 3, not 4"),
        (ThresholdNet(), (1,), "returns one logit for each cell; leave out --cloud-classes"),
    ],
)
def test_classes_that_a_model_does_not_have_are_refused_before_a_band_is_read(
    tmp_path, net, classes, words
):
    weights = exported(tmp_path / "net.pt2", net)
    with pytest.raises(BadInputError, match=words):
        trusted(weights, cloud_classes=classes).check()


def test_an_architecture_is_made_for_the_classes_of_its_weights(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(THRESHOLD_NET.replace("(1, 1, 1, False)", "(1, class_count, 1, False)"))
    state = {"weight": torch.zeros(3, len(BANDS), 1, 1), "bias": torch.tensor([0.0, -1.0, -9.0])}
    state["weight"][1, 1], state["weight"][2, 1] = 0.001, 0.004
    weights = save(
        tmp_path / "net.ckpt", {"state_dict": {f"model.{k}": v for k, v in state.items()}}
    )
    source = source_of([[100, 1500, 4000]])
    detector = PytorchDetector(
        BANDS,
        weights=weights,
        architecture=str(path),
        trust_architecture=True,
        cloud_classes=(1,),
    )
    detector.check()
    np.testing.assert_array_equal(
        detector.detect(source, source.grid).cloud, [[False, True, False]]
    )
    single = trusted(weights, str(path))
    with pytest.raises(BadInputError, match=r"of 3 classes: say which are cloud with --cloud-clas"):
        single.check()
