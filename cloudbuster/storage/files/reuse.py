"""Documents of earlier attempts of a run, and documents that are made only once."""

import logging
from collections.abc import Callable
from typing import TypeVar

from cloudbuster.errors import BadInputError
from cloudbuster.models import Document
from cloudbuster.storage.files.documents import read_document, write_document
from cloudbuster.storage.files.uri import exists

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)


def read_earlier(uri: str, model: type[D]) -> D | None:
    """Read a document that an earlier attempt may have written.

    Parameters
    ----------
    uri : str
        Path or URI of the document.
    model : type of Document
        Model of the document.

    Returns
    -------
    Document or None
        None if there is no such document, or it cannot be read as ``model``; the latter is logged.

    Raises
    ------
    TryAgainError
        If a remote service failed.
    """
    if not exists(uri):
        return None
    try:
        return read_document(uri, model)
    except BadInputError:
        logger.warning("document_unreadable", extra={"uri": uri})
        return None


def made_once(uri: str, model: type[D], make: Callable[[], D], *, anew: bool = False) -> D:
    """Read a document that an earlier attempt wrote, or make and write it.

    Parameters
    ----------
    uri : str
        Path or URI of the document.
    model : type of Document
        Model of the document. A file that cannot be read as this model is made again.
    make : callable
        Makes the document.
    anew : bool
        Whether to make it even if it is there.

    Returns
    -------
    Document
        The earlier document, or the new one.

    Raises
    ------
    OutputError, TryAgainError
        If the document cannot be written, or a remote service failed.
    """
    earlier = None if anew else read_earlier(uri, model)
    if earlier is not None:
        return earlier
    made = make()
    write_document(uri, made)
    return made
