"""How a command line is read: switches, lists, and what follows them."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from cloudbuster.cli.flags.kinds import BandList, DaysOption, MirrorsOption
from cloudbuster.cli.main import cli
from cloudbuster.cli.parsing import rewritten
from cloudbuster.errors import ExitCode
from tests.unit.cli.conftest import SQUARE, Call

OPTIONS = [
    click.Option(["--force/--no-force"], default=None),
    click.Option(["--name"]),
    DaysOption(["--mindate"], multiple=True),
    BandList(["--bands"], multiple=True),
    MirrorsOption(["--asset-mirror"], multiple=True),
]


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"name": "m", "aoi": SQUARE}))
    return path


@pytest.fixture
def made(call: Call) -> Any:
    """Run ``run --dryrun`` with more words, and give the request that it prints."""

    def run(*words: object) -> Any:
        ended = call("run", "--dryrun", *words)
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("--force r.json", "--force r.json"),
        ("--force", "--force"),
        ("--force True r.json", "--force r.json"),
        ("--force yes", "--force"),
        ("--force 1 r.json", "--force r.json"),
        ("--force=true r.json", "--force r.json"),
        ("--force False r.json", "--no-force r.json"),
        ("--force 0", "--no-force"),
        ("--force=no", "--no-force"),
        ("--no-force r.json", "--no-force r.json"),
        ("--force --name true", "--force --name true"),
        ("--name --force true", "--name --force true"),
        ("-- --force true", "-- --force true"),
        ("--force -- true", "--force -- true"),
        ("--unknown true", "--unknown true"),
    ],
)
def test_a_switch_takes_the_word_after_it_only_if_that_is_a_truth_value(
    words: str, read: str
) -> None:
    assert rewritten(words.split(), OPTIONS) == read.split()


@pytest.mark.parametrize("words", ["--force=maybe", "--no-force true", "--no-force=false"])
def test_a_switch_with_a_value_that_says_nothing_is_refused(words: str) -> None:
    with pytest.raises(click.UsageError, match=r"--(no-)?force takes"):
        rewritten(words.split(), OPTIONS)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("--bands B04 B03", "--bands=B04 --bands=B03"),
        ("--bands B04,B03", "--bands=B04 --bands=B03"),
        ("--bands b04,b8a B12", "--bands=B04 --bands=B8A --bands=B12"),
        ("--bands=B04,B03 B02", "--bands=B04 --bands=B03 --bands=B02"),
        ("--bands B04 --bands B03", "--bands=B04 --bands=B03"),
        ("--bands B04, B03", "--bands=B04 --bands=B03"),
        ("--bands B04 B03 r.json", "--bands=B04 --bands=B03 r.json"),
        ("--bands B04 B03.json", "--bands=B04 B03.json"),
        ("--bands B04 -- B03", "--bands=B04 -- B03"),
        ("--bands red B04", "--bands=RED --bands=B04"),
        ("--bands", "--bands"),
        ("--mindate 2020-05-01 2021-05-01", "--mindate=2020-05-01 --mindate=2021-05-01"),
        ("--mindate 2020-05-01,2021-05-01", "--mindate=2020-05-01 --mindate=2021-05-01"),
        ("--mindate 2020-05-01 2020-05-01.json", "--mindate=2020-05-01 2020-05-01.json"),
        ("--mindate 2020-05-01 --force r.json", "--mindate=2020-05-01 --force r.json"),
        ("--mindate soon r.json", "--mindate=soon r.json"),
        (
            "--asset-mirror s3://a=/b https://c=/d r.json",
            "--asset-mirror=s3://a=/b --asset-mirror=https://c=/d r.json",
        ),
        (
            "--asset-mirror s3://a=/b,/c=/d",
            "--asset-mirror=s3://a=/b --asset-mirror=/c=/d",
        ),
        ("--asset-mirror s3://a,b=/c,d", "--asset-mirror=s3://a,b=/c,d"),
        ("--asset-mirror s3://a=/b x=1/r.json", "--asset-mirror=s3://a=/b x=1/r.json"),
    ],
)
def test_a_list_takes_the_words_after_it_that_look_like_its_values(words: str, read: str) -> None:
    assert rewritten(words.split(), OPTIONS) == read.split()


def test_run_finds_its_request_file_wherever_it_stands(request_file: Path, made: Any) -> None:
    bands = ["--bands", "B04", "B03"]
    days = ["--mindate", "2020-05-01", "2021-05-01", "--maxdate", "2020-10-01", "2021-10-01"]
    for words in (
        ["--force", request_file, *bands, *days],
        ["--force", *bands, request_file, *days],
        ["--force", *bands, *days, request_file],
        [*days, "--force", request_file, *bands],
    ):
        request = made(*words)
        assert request["force"] is True
        assert request["gather"]["bands"] == ["B04", "B03"]
        assert request["query"]["mindate"] == ["2020-05-01", "2021-05-01"]
        assert request["query"]["maxdate"] == ["2020-10-01", "2021-10-01"]


@pytest.mark.parametrize(
    ("words", "is_on"),
    [
        (["--backstop"], True),
        (["--backstop", "True"], True),
        (["--backstop", "False"], False),
        (["--backstop=false"], False),
        (["--no-backstop"], False),
        ([], True),
    ],
)
def test_backstop_works_bare_negated_and_with_a_value(
    request_file: Path, made: Any, words: list[str], is_on: bool
) -> None:
    assert made(*words, request_file)["filter"]["backstop"] is is_on


def test_every_switch_can_be_negated() -> None:
    switches = [
        option
        for command in cli.commands.values()
        for option in command.params
        if isinstance(option, click.Option) and option.is_flag
    ]
    assert len(switches) > 10
    for option in switches:
        (name,) = option.opts
        assert option.secondary_opts == [f"--no-{name.removeprefix('--')}"]


def test_a_bare_switch_does_not_swallow_the_argument_after_it(
    call: Call, request_file: Path
) -> None:
    ended = call("run", "--dryrun", request_file)
    assert (ended.code, json.loads(ended.out)["name"]) == (ExitCode.DONE, "m")
    missing = call("run", "--dryrun", "out.json")
    assert missing.last_line.startswith("RequestError: out.json: No such file")
