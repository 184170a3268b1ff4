"""The original's command names, as thin aliases of the subcommands."""

from typing import NoReturn

from cloudbuster import cli


def query_rf() -> NoReturn:
    """``query_rf.py``: `cloudbuster query`."""
    cli.main(command=cli.query)


def filter_() -> NoReturn:
    """``filter.py``: `cloudbuster filter`."""
    cli.main(command=cli.filter_)
