"""The CDK app: ``cdk synth``, ``cdk deploy`` and ``cdk destroy`` run ``python -m infra.app``."""

import importlib.metadata
import json
import sys
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from cloudbuster.aws.published import SCHEMA_KEY, PublishedConfig
from infra.configuration.config import StackConfig
from infra.context import (
    ALLOW_KEY,
    ConfigError,
    allows_downgrade,
    config_path,
    parse_config,
    read_config,
)
from infra.deployed import Comparison, compare, file_identity
from infra.stack import CloudBusterStack

# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
MAX_PUBLISHED_BYTES = 8192


def make_app(
    config: StackConfig,
    *,
    published: PublishedConfig | None = None,
    outdir: str | None = None,
    context: Mapping[str, object] | None = None,
) -> tuple[cdk.App, CloudBusterStack]:
    """Make the app with its one stack, which cdk-nag checks when it is synthesized.

    Parameters
    ----------
    config : StackConfig
        Configuration of the stack.
    published : PublishedConfig, optional
        The configuration as the stack publishes it, with its file.
    outdir : str, optional
        Folder of the result; ``cdk`` sets it by an environment variable.
    context : mapping, optional
        Context of the app; ``cdk`` passes that of cdk.json.
    """
    app = cdk.App(outdir=outdir, context=context)
    # The account is that of the credentials: nothing is looked up, so the synthesis needs none.
    env = cdk.Environment(region=config.target_region)
    stack = CloudBusterStack(
        app,
        config.stack_name,
        config=config,
        published=published or publish(config, given={}, file="none"),
        env=env,
    )
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app, stack


def publish(config: StackConfig, *, given: Mapping[str, Any], file: str) -> PublishedConfig:
    """Make the document by which the next deployment, and doctor, know this configuration.

    Raises
    ------
    ConfigError
        If it is too large for a parameter of Systems Manager.
    """
    published = PublishedConfig(
        version=importlib.metadata.version("cloudbuster"),
        file=file,
        given={key: value for key, value in given.items() if key != SCHEMA_KEY},
        effective=config.model_dump(mode="json"),
    )
    size = len(published.model_dump_json().encode())
    if size > MAX_PUBLISHED_BYTES:
        msg = (
            f"{file}: as it is published it takes {size} bytes, a parameter of Systems Manager "
            f"has {MAX_PUBLISHED_BYTES}: shorten tags, default_request or the lists of buckets"
        )
        raise ConfigError(msg)
    return published


def notes(config: StackConfig) -> list[str]:
    """List what an operator should know about a configuration, one line each."""
    lines = [config.disk_report()]
    if config.vpc_id is not None:
        more = ", secretsmanager" if config.catalog_secret else ""
        lines.append(
            "private subnets need a NAT gateway or endpoints for s3, ecr.api, ecr.dkr, ecs, "
            f"ecs-agent, ecs-telemetry{more} and logs, and a route to the catalog"
        )
    if config.retain_data:
        lines.append(
            "cdk destroy is refused until termination protection is switched off, and leaves the "
            "bucket with everything in it"
        )
    return lines


def check_downgrade(compared: Comparison, config: StackConfig, *, allowed: bool) -> None:
    """Raise ConfigError for a deployment that lowers what protects data, unless that is allowed."""
    if compared.lowers and not allowed:
        msg = (
            f"this would lower what protects the data of {config.stack_name}: "
            f"{'; '.join(compared.lowers)}: correct it, or give -c {ALLOW_KEY}=true as well"
        )
        raise ConfigError(msg)


def main() -> None:
    """Synthesize, or exit with one line about a configuration that cannot be deployed."""
    context = cdk.App().node.get_all_context()
    try:
        path, allowed = config_path(context), allows_downgrade(context)
        given = read_config(path)
        config = parse_config(given, source=path.name)
        published = publish(config, given=given, file=file_identity(path))
        compared = compare(config, file=published.file)
        check_downgrade(compared, config, allowed=allowed)
    except ConfigError as error:
        sys.exit(f"ConfigError: {error}")
    effective = json.dumps(published.effective)
    lines = [f"configuration of {published.file}: {effective}", *compared.notes]
    lines += [f"lowers what protects data: {phrase}" for phrase in compared.lowers]
    for line in [*lines, *notes(config)]:
        sys.stderr.write(f"{config.stack_name}: {line}\n")
    app, _ = make_app(config, published=published)
    app.synth()


if __name__ == "__main__":
    main()
