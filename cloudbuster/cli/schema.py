"""``cloudbuster schema``."""

import click

from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Print the JSON Schema of a document.")
@click.argument("document", required=False, default="MosaicRequest")
def schema(*, document: str) -> None:
    """Print the JSON Schema of the request, or of another document by the name of its model.

    Examples
    --------
    $ cloudbuster schema > request.schema.json

    $ cloudbuster schema GatherTask
    """
    from cloudbuster.cli.inputs import json_text
    from cloudbuster.errors import RequestError
    from cloudbuster.models import DOCUMENTS

    if document not in DOCUMENTS:
        msg = f"no document {document!r}; there is {', '.join(sorted(DOCUMENTS))}"
        raise RequestError(msg)
    show(json_text(DOCUMENTS[document].model_json_schema(by_alias=True)))
