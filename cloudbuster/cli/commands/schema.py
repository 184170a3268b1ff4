"""``cloudbuster schema``."""

from pathlib import Path

import click

from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show

STACK_CONFIG = "StackConfig"
# The model is part of the stack, which the package does not know; a test compares both.
STACK_SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "stack.schema.json"


@click.command(cls=Command, short_help="Print the JSON Schema of a document.")
@click.argument("document", required=False, default="MosaicRequest")
def schema(*, document: str) -> None:
    """Print the JSON Schema of the request, or of another document by the name of its model.

    StackConfig is the configuration file of a stack.

    Examples
    --------
    $ cloudbuster schema > request.schema.json

    $ cloudbuster schema GatherTask

    $ cloudbuster schema StackConfig > stack.schema.json
    """
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.errors import RequestError
    from cloudbuster.models import DOCUMENTS

    if document == STACK_CONFIG:
        show(STACK_SCHEMA.read_text(encoding="utf-8").rstrip("\n"))
        return
    if document not in DOCUMENTS:
        known = ", ".join(sorted([*DOCUMENTS, STACK_CONFIG]))
        msg = f"no document {document!r}; there is {known}"
        raise RequestError(msg)
    show(json_text(DOCUMENTS[document].model_json_schema(by_alias=True)))
