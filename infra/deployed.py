"""The configurations of the deployed stacks of this account, as the stacks publish them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cloudbuster.aws.costs import HOMES
from cloudbuster.aws.outputs import PARAMETERS, config_parameter
from cloudbuster.aws.published import PublishedConfig
from cloudbuster.errors import CloudBusterError
from cloudbuster.storage.remote.boto import make_aws_client, translate_boto_errors
from infra.configuration.config import StackConfig
from infra.downgrade import lowered

# A synthesis without a network, or without credentials, must not take long.
CLIENT = {"connect_timeout": 3, "read_timeout": 10, "retries": {"total_max_attempts": 2}}
Place = tuple[str, str]
"""Region and name of a stack."""


@dataclass(frozen=True)
class Comparison:
    """A configuration compared with what is deployed.

    Attributes
    ----------
    notes : list of str
        What an operator should know, one line each.
    lowers : list of str
        What the deployment would lower, one phrase each.
    """

    notes: list[str] = field(default_factory=list)
    lowers: list[str] = field(default_factory=list)


def file_identity(path: Path) -> str:
    """Last two parts of the path of a configuration file, alike on different machines."""
    return "/".join(path.resolve().parts[-2:])


def compare(config: StackConfig, *, file: str) -> Comparison:
    """Compare a configuration with that of the deployed stack, if it can be read.

    Parameters
    ----------
    config : StackConfig
        Configuration to deploy.
    file : str
        Identity of its file, as of `file_identity`.
    """
    regions = list(dict.fromkeys([config.target_region, *HOMES.values()]))
    try:
        deployed = {
            (region, name): found
            for region in regions
            for name, found in _published(region).items()
        }
    except CloudBusterError as error:
        return Comparison(notes=[f"not compared with what is deployed: {error}"])
    return compare_with(deployed, config, file=file)


def compare_with(
    deployed: Mapping[Place, PublishedConfig], config: StackConfig, *, file: str
) -> Comparison:
    """Compare a configuration with those of deployed stacks; see `compare`."""
    place = (config.target_region, config.stack_name)
    known = deployed.get(place)
    if known is None:
        return Comparison([f"{place[1]} is not deployed in {place[0]} yet"], _moved(deployed, file))
    after: dict[str, Any] = config.model_dump(mode="json")
    notes = ["compared with what is deployed"]
    if known.file != file:
        notes = [f"was deployed from {known.file}, this is {file}"]
    return Comparison(notes, lowered(known.effective, after))


def _moved(deployed: Mapping[Place, PublishedConfig], file: str) -> list[str]:
    """Describe the stacks of the same file under another name or in another region."""
    return [
        f"stack_name or region is changed: {file} was deployed as {name} in {region}, which would "
        "stay and never be updated again"
        for (region, name), found in deployed.items()
        if found.file == file
    ]


def _published(region: str) -> dict[str, PublishedConfig]:
    """Read the configurations that the stacks of a region publish, by the stacks' names."""
    with translate_boto_errors(
        f"read the parameters {PARAMETERS} in {region}", permission="ssm:GetParametersByPath"
    ):
        client = make_aws_client("ssm", config=CLIENT, region_name=region)
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=PARAMETERS, Recursive=True
        )
        entries = [entry for page in pages for entry in page["Parameters"]]
    return _parsed(entries)


def _parsed(entries: Iterable[Mapping[str, Any]]) -> dict[str, PublishedConfig]:
    """Parse the parameters that are configurations of this or an earlier version."""
    found = {}
    for entry in entries:
        stack = str(entry["Name"]).removeprefix(PARAMETERS).partition("/")[0]
        if entry["Name"] == config_parameter(stack):
            try:
                found[stack] = PublishedConfig.model_validate_json(entry["Value"])
            except ValidationError:
                continue
    return found
