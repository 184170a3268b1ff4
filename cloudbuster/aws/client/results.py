"""Files that a run on the deployed stack has made: where they lie, and copies on this machine."""

from dataclasses import dataclass, replace
from pathlib import Path

from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.status import run_status
from cloudbuster.aws.executions import run_of
from cloudbuster.aws.outputs import Output
from cloudbuster.errors import NotFoundError
from cloudbuster.models import Assessment, MergeResult
from cloudbuster.storage.files.documents import read_document
from cloudbuster.storage.files.uri import join, replacing
from cloudbuster.storage.remote.s3 import download_object

# Fields of `MergeResult` by what their files are.
PRODUCTS = {
    "mosaic": "cloudless",
    "backstop": "cloudy",
    "quality": "quality",
    "preview": "preview",
    "report": "report",
    "item": "item",
}


@dataclass(frozen=True)
class ResultFile:
    """A file that a run has made.

    Attributes
    ----------
    what : str
        ``mosaic``, ``backstop``, ``quality``, ``preview``, ``report``, ``item``, ``assessment``
        or ``holes``.
    uri : str
        Where it lies.
    path : str or None
        Path of the copy on this machine; None if it was not downloaded.
    """

    what: str
    uri: str
    path: str | None = None


def list_results(name: str, stack: DeployedStack) -> list[ResultFile]:
    """List the files that a run has made.

    Parameters
    ----------
    name, stack : str, DeployedStack
        Id of a run, or name or ARN of one of its executions, in this stack.

    Returns
    -------
    list of ResultFile
        The products of the last merge, the assessment, and the places that were never seen clear
        if there are any.

    Raises
    ------
    NotFoundError
        If there is no such run, or it has made nothing yet.
    """
    run = run_of(name)
    documents = join(f"s3://{stack.outputs[Output.BUCKET]}", "runs", run)
    try:
        products = read_document(join(documents, "products.json"), MergeResult)
    except NotFoundError as error:
        state = run_status(name, stack)["state"]
        msg = f"{run} has made no products, it is {state}; see cloudbuster status {run}"
        raise NotFoundError(msg) from error
    uri = join(documents, "assessment.json")
    files = [ResultFile(what, getattr(products, field)) for what, field in PRODUCTS.items()]
    holes = read_document(uri, Assessment).hole_file
    return [
        *files,
        ResultFile("assessment", uri),
        *([ResultFile("holes", holes)] if holes else []),
    ]


def download_results(files: list[ResultFile], folder: Path) -> list[ResultFile]:
    """Copy the files of a run into a folder, which is made; earlier copies are replaced.

    Returns
    -------
    list of ResultFile
        The files with their paths.

    Raises
    ------
    NotFoundError
        If a file has been deleted.
    OutputError
        If the folder cannot be made or written.
    CredentialsError, AccessError
        If there are no credentials, or they do not allow it.
    TryAgainError
        If the disk is full, or S3 is throttled, broken or out of reach.
    """
    copies = []
    for file in files:
        path = folder / file.uri.rpartition("/")[2]
        with replacing(path) as partial:
            download_object(file.uri, partial)
        copies.append(replace(file, path=str(path)))
    return copies
