"""The ``cloudbuster`` command: parses, calls a stage, prints its result; no logic of its own.

stdout carries the result (JSON or paths), stderr the logs, the progress and, last, the error.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from cloudbuster import log
from cloudbuster.cli_aws import COMMANDS as AWS_COMMANDS
from cloudbuster.errors import CloudBusterError, ExitCode
from cloudbuster.options import SeveralValues, gather_flags, switch, tmp_flag
from cloudbuster.progress import progress_bar

# The original's defaults, kept: before the first and after the last Sentinel-2 scene.
DEFAULT_MINDATE = "1307-10-13"
DEFAULT_MAXDATE = "2038-01-19"

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cloudbuster")
@click.option(
    "--log-json",
    is_flag=True,
    envvar="CLOUDBUSTER_LOG_JSON",
    show_envvar=True,
    help="Log one JSON object a line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="WARNING",
    show_default=True,
    envvar="CLOUDBUSTER_LOG_LEVEL",
    show_envvar=True,
)
def cli(*, log_json: bool, log_level: str) -> None:
    """Cloud-free mosaics from Sentinel-2 imagery: query, filter, gather, merge, or run it all."""
    log.configure(as_json=log_json, level=log_level.upper())


def query_flags(command: F) -> F:
    """Options of the query that ``run`` takes as well."""
    for option in reversed(
        (
            click.option("--limit", type=int, default=1024, show_default=True),
            click.option("--minclouds", type=float, default=0.0, show_default=True),
            click.option("--maxclouds", type=float, default=20.0, show_default=True),
            click.option(
                "--mindate",
                multiple=True,
                default=[DEFAULT_MINDATE],
                show_default=True,
                help="First UTC day (YYYY-MM-DD) of each period; several pair with --maxdate.",
            ),
            click.option(
                "--maxdate",
                multiple=True,
                default=[DEFAULT_MAXDATE],
                show_default=True,
                help="Last UTC day of each period, inclusive.",
            ),
            click.option("--scale", type=float, help="Scale features about their box's centre."),
            switch("--original-shape", help_text="Features as they are; overrides --scale."),
            click.option("--kind", type=click.Choice(["L2A", "L1C"]), default="L2A"),
            click.option(
                "--catalog",
                show_default="earth-search",
                help="A named catalog (see cloudbuster catalogs), the URL of a STAC API, or a "
                "local STAC catalog.",
            ),
            click.option(
                "--asset-mirror",
                multiple=True,
                metavar="FROM=TO",
                help="Read assets whose address begins with FROM at TO; may be repeated.",
            ),
        )
    ):
        command = option(command)
    return command


def filter_flags(command: F) -> F:
    """Options of the filter that ``run`` takes as well."""
    for option in reversed(
        (
            click.option("--coverage-count", type=int, default=3, show_default=True),
            click.option("--max-selections", type=int),
            click.option(
                "--max-uncovered",
                type=float,
                default=0.0005,
                show_default=True,
                help="Share (0 to 1) of the area, mean over the looks, that may stay uncovered.",
            ),
            click.option("--name-regexp", help="Keep items whose id matches."),
            click.option("--date-regexp", help="Keep items whose acquisition time matches."),
            switch(
                "--backstop", default=True, help_text="Pick a backstop beneath the clear looks."
            ),
            click.option(
                "--strategy", type=click.Choice(["original"]), default="original", show_default=True
            ),
        )
    ):
        command = option(command)
    return command


workers_flag = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each CPU",
    help="Processes to gather with.",
)
format_flag = click.option(
    "--format",
    "style",
    type=click.Choice(["stac", "original"]),
    default="stac",
    show_default=True,
    help="Documents as STAC ItemCollections, or as the original wrote them.",
)


@cli.command(cls=SeveralValues)
@click.option("--geojson", required=True, help="Area of interest; - reads stdin.")
@click.option("--response", help="File to write; beats --aoi-name.")
@click.option("--aoi-name", "--area-name", help="Write NAME.json; beats --name-property.")
@click.option("--name-property", help="Property of the first feature that names the file.")
@click.option(
    "--refresh-token",
    help="Of RasterFoundry (or secretsmanager:NAME); selects that catalog. Other users of this "
    "machine can see it here: CLOUDBUSTER_RF_REFRESH_TOKEN hides it.",
)
@query_flags
@format_flag
def query(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Find candidate scenes for an area and dates."""
    from cloudbuster import adapters

    with progress_bar() as on_event:
        _print(adapters.query(flags, on_event))


@cli.command(name="filter")
@click.option("--input", "input_", required=True, help="Result of query; - reads stdin.")
@click.option("--output", required=True, help="File to write; - writes stdout.")
@filter_flags
@click.option("--minclouds", type=float, default=0.0, show_default=True)
@click.option("--kind", type=click.Choice(["L2A", "L1C"]), help="Level of an original document.")
@click.option("--bands", help="Drop scenes that lack one of these, as B04,B03,B02.")
@format_flag
def filter_(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Pick the scenes that cover the area several times by clear sky, and a backstop."""
    from cloudbuster import adapters

    with progress_bar() as on_event:
        _print(adapters.filter_(flags, on_event))


@cli.command()
@click.option("--response", help="Result of filter; - reads stdin.")
@click.option("--name", help="Base of the file names.")
@click.option("--output-path", help="Folder or s3:// prefix to write to.")
@click.option("--index", type=int, help="Gather the scene of this index alone.")
@click.option("--kind", type=click.Choice(["L2A", "L1C"]), help="Level; the response's by default.")
@click.option("--task", help="A task document; replaces every other option.")
@gather_flags
@tmp_flag
@workers_flag
@switch("--dryrun", help_text="Print what would be gathered.")
def gather(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Find and remove the clouds of selected scenes, and put them on the mosaic's grid."""
    from cloudbuster import adapters

    _use_tmp(flags.pop("tmp"))
    with progress_bar() as on_event:
        _print(adapters.gather(flags, on_event))


@cli.command()
@click.option("--input-path", help="Folder or s3:// prefix of the gathered scenes.")
@click.option("--output-path", help="Folder or s3:// prefix to write to.")
@click.option("--name", help="Base of the file names.")
@click.option("--task", help="A merge task document; replaces every other option.")
@click.option("--composite", type=click.Choice(["first"]), default="first", show_default=True)
@tmp_flag
@switch("--dryrun", help_text="Print what would be merged.")
def merge(**flags: Any) -> None:  # noqa: ANN401 -- click passes each flag by its name
    """Merge gathered scenes into {name}-cloudless.tif and {name}-cloudy.tif."""
    from cloudbuster import adapters

    _use_tmp(flags.pop("tmp"))
    with progress_bar() as on_event:
        _print(adapters.merge(flags, on_event))


@cli.command(cls=SeveralValues)
@click.argument("request_file", metavar="[REQUEST.json]", required=False)
@click.option("--geojson", help="Area of interest, instead of a request file.")
@click.option("--name", help="Base of the file names.")
@click.option("--output", help="Folder of the run.  [default: ./NAME]")
@query_flags
@filter_flags
@gather_flags
@workers_flag
@click.option("--composite", type=click.Choice(["first"]), default="first", show_default=True)
@click.option("--min-success-fraction", type=float, default=0.8, show_default=True)
@switch("--force", help_text="Do again what an earlier run finished.")
@switch("--dryrun", help_text="Print the request.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def run(ctx: click.Context, /, **flags: Any) -> None:  # noqa: ANN401 -- click passes flags by name
    """Make a mosaic of a request file, or of the same by flags: all stages, resuming."""
    from cloudbuster import adapters

    flags["given"] = {
        name
        for name in flags
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    with progress_bar() as on_event:
        text, error = adapters.run(flags, on_event)
    _print(text)
    if error is not None:
        raise error


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--jp2", is_flag=True, help="Bands as JPEG 2000 instead of COG.")
@workers_flag
def sample(folder: Path, **flags: Any) -> None:  # noqa: ANN401 -- click passes flags by name
    """Write a deterministic Sentinel-2 world with its cloud-free truth."""
    from cloudbuster.sample import write_sample

    with progress_bar() as on_event:
        world = write_sample(folder, on_event=on_event, **flags)
    _print(str(world.request))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def catalogs(*, as_json: bool) -> None:
    """List the catalogs, what each needs, and whether that is there now."""
    from cloudbuster import adapters

    _print(adapters.catalogs(as_json=as_json))


@cli.command()
@click.argument("document", required=False, default="MosaicRequest")
def schema(document: str) -> None:
    """Print the JSON Schema of the request, or of another document by its name."""
    from cloudbuster import adapters

    _print(adapters.schema(document))


for aws_command in AWS_COMMANDS:
    cli.add_command(aws_command)


def _print(text: str | None) -> None:
    if text:
        click.echo(text)


def _use_tmp(folder: str | None) -> None:
    """Let Python and GDAL put their temporary files in ``folder``."""
    if folder is not None:
        tempfile.tempdir = folder
        os.environ["CPL_TMPDIR"] = folder


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(int(ExitCode.TERMINATED))


def main(arguments: list[str] | None = None, *, command: click.Command = cli) -> NoReturn:
    """Run a command and exit with a code of `cloudbuster.errors.ExitCode`."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        _fail("Interrupted: stopped; run the same command again to resume", ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        _fail("Interrupted: stopped; run the same command again to resume", ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read stdout has gone: nothing is left to say, and Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(ExitCode.DONE))
    except CloudBusterError as error:
        _fail(f"{type(error).__name__}: {error}", error.exit_code)
    except SystemExit as stop:
        if stop.code != int(ExitCode.TERMINATED):
            raise
        _fail("Terminated: stopped; run the same command again to resume", ExitCode.TERMINATED)
    sys.exit(int(ExitCode.DONE))


def _fail(message: str, code: ExitCode) -> NoReturn:
    click.echo(" ".join(message.split()), err=True)
    sys.exit(int(code))
