"""The ``cloudbuster`` program: its commands, its exit codes, and the last line of stderr.

stdout carries the result (JSON or paths); stderr the messages, the progress and, last, the error.
"""

import signal
import sys
from typing import NoReturn

import click

from cloudbuster.cli.commands.cancel import cancel
from cloudbuster.cli.commands.catalogs import catalogs
from cloudbuster.cli.commands.completion import completion
from cloudbuster.cli.commands.doctor import doctor
from cloudbuster.cli.commands.explain import explain
from cloudbuster.cli.commands.filter import filter_
from cloudbuster.cli.commands.gather import gather
from cloudbuster.cli.commands.logs import logs
from cloudbuster.cli.commands.merge import merge
from cloudbuster.cli.commands.meta_gather import meta_gather
from cloudbuster.cli.commands.meta_merge import meta_merge
from cloudbuster.cli.commands.plan import plan
from cloudbuster.cli.commands.query import query
from cloudbuster.cli.commands.redrive import redrive
from cloudbuster.cli.commands.rerun import rerun
from cloudbuster.cli.commands.results import results
from cloudbuster.cli.commands.run import run
from cloudbuster.cli.commands.sample import sample
from cloudbuster.cli.commands.schema import schema
from cloudbuster.cli.commands.status import status
from cloudbuster.cli.commands.submit import submit
from cloudbuster.cli.commands.verify import verify
from cloudbuster.cli.parsing import Group, log_options, rewritten
from cloudbuster.cli.terminal import fail, log_bug, show_bug, writes_json
from cloudbuster.errors import CloudBusterError, ExitCode
from cloudbuster.processes import log

SECTIONS = {
    "Make a mosaic": [run],
    "Stage by stage": [query, filter_, gather, merge],
    "Look into a mosaic": [explain, verify],
    "On AWS": [
        plan,
        submit,
        status,
        logs,
        results,
        cancel,
        rerun,
        redrive,
        doctor,
        meta_gather,
        meta_merge,
    ],
    "More": [sample, catalogs, schema, completion],
}
RESUME = "stopped; run the same command again to resume"

_logging = click.Command(
    "logging",
    params=log_options(expose_value=True),
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)


@click.group(
    cls=Group,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cloudbuster")
def cli() -> None:
    """Cloud-free mosaics from Sentinel-2 imagery.

    Examples
    --------
    $ cloudbuster run --geojson area.geojson --name denver --mindate 2020-05-01 --maxdate 2020-10-01

    $ cloudbuster run request.json
    """


for commands in SECTIONS.values():
    for each in commands:
        cli.add_command(each)
cli.sections = SECTIONS


def main(arguments: list[str] | None = None, *, command: click.Command = cli) -> NoReturn:
    """Run a command and exit with a code of `cloudbuster.errors.ExitCode`."""
    words = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _terminate)
    _configure_logging(words)
    try:
        command.main(args=words, standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        fail("Interrupted", RESUME, ExitCode.INTERRUPTED)
    except click.ClickException as error:
        _refuse(error)
    except CloudBusterError as error:
        fail(type(error).__name__, str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code != int(ExitCode.TERMINATED):
            raise
        fail("Terminated", RESUME, ExitCode.TERMINATED)
    sys.exit(int(ExitCode.DONE))


def query_rf() -> NoReturn:
    """``query_rf.py`` of the original: `cloudbuster query`."""
    main(command=query)


def filter_py() -> NoReturn:
    """``filter.py`` of the original: `cloudbuster filter`."""
    main(command=filter_)


def meta_gather_py() -> NoReturn:
    """``meta-gather.py`` of the original: `cloudbuster meta-gather`."""
    main(command=meta_gather)


def meta_merge_py() -> NoReturn:
    """``meta-merge.py`` of the original: `cloudbuster meta-merge`."""
    main(command=meta_merge)


def _configure_logging(words: list[str]) -> None:
    """Read the options of logging, wherever they stand, before a command can fail."""
    known = rewritten(words, _logging.params)
    flags = _logging.make_context("cloudbuster", known, resilient_parsing=True).params
    log.configure(as_json=bool(flags["log_json"]), level=str(flags["log_level"] or "WARNING"))
    sys.excepthook = log_bug if writes_json() else show_bug


def _refuse(error: click.ClickException) -> NoReturn:
    """Show how a command is used, and what is wrong with this use of it."""
    ctx = getattr(error, "ctx", None)
    if ctx is not None and not writes_json():
        is_group = isinstance(ctx.command, click.Group)
        click.echo(ctx.get_help() if is_group else ctx.get_usage(), err=True)
        click.echo(f"Try '{ctx.command_path} --help' for help.\n", err=True)
    fail("UsageError", error.format_message(), error.exit_code)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(int(ExitCode.TERMINATED))
