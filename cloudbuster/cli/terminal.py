"""What a command writes: its result on stdout; notes, errors and progress on stderr.

With ``--log-json`` each line of stderr is a JSON object.
"""

import logging
import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn

import click

from cloudbuster.errors import ExitCode
from cloudbuster.processes import log
from cloudbuster.redaction import redacted, visible

logger = logging.getLogger(f"{log.SPOKEN}.terminal")


def writes_json() -> bool:
    """Whether stderr holds JSON objects."""
    settings = log.settings()
    return settings is not None and settings.as_json


def show(text: str | None) -> None:
    """Write a result to stdout; nothing where there is none, or nobody reads it any more."""
    if not text:
        return
    try:
        click.echo(text)
    except BrokenPipeError:
        # Python would try again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Write to stderr what a person should know beside the result."""
    if writes_json():
        logger.info("note", extra={"text": text})
    else:
        click.echo(visible(redacted(text)), err=True)


def fail(name: str, message: str, code: int) -> NoReturn:
    """Write the last line of stderr, ``name: message``, and exit with ``code``."""
    message = visible(redacted(" ".join(message.split())))
    if writes_json():
        logger.error("failed", extra={"error": name, "reason": message, "exit_code": int(code)})
    else:
        click.echo(visible(f"{name}: {message}"), err=True)
    sys.exit(int(code))


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write an exception that nobody expected, as `sys.excepthook` does, without secrets."""
    text = "".join(traceback.format_exception(kind, error, trace))
    click.echo(visible(redacted(text)), err=True, nl=False)


def log_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write an exception that nobody expected, as `sys.excepthook` does, as a JSON object."""
    extra = {"error": kind.__name__, "reason": str(error), "exit_code": int(ExitCode.BUG)}
    logger.critical("failed", exc_info=(kind, error, trace), extra=extra)
