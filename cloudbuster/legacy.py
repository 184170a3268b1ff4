"""The original's command names, as thin aliases of the subcommands."""

from typing import NoReturn

from cloudbuster import cli, cli_aws


def query_rf() -> NoReturn:
    """``query_rf.py``: `cloudbuster query`."""
    cli.main(command=cli.query)


def filter_() -> NoReturn:
    """``filter.py``: `cloudbuster filter`."""
    cli.main(command=cli.filter_)


def meta_gather() -> NoReturn:
    """``meta-gather.py``: `cloudbuster meta-gather`."""
    cli.main(command=cli_aws.meta_gather)


def meta_merge() -> NoReturn:
    """``meta-merge.py``: `cloudbuster meta-merge`."""
    cli.main(command=cli_aws.meta_merge)
