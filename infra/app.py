"""The CDK app: ``cdk synth``, ``cdk deploy`` and ``cdk destroy`` run ``python -m infra.app``."""

import difflib
import json
import sys
from collections.abc import Mapping

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import CONTEXT_KEY, ConfigError, StackConfig, parse_config
from infra.stack import CloudBusterStack

# Of difflib: `cloudbustr` and `cloud_buster` are so like `cloudbuster`, `cloud` and `cluster` not.
LIKE_OURS = 0.8


def make_app(
    config: StackConfig,
    *,
    outdir: str | None = None,
    context: Mapping[str, object] | None = None,
) -> tuple[cdk.App, CloudBusterStack]:
    """Make the app with its one stack, checked by cdk-nag when it is synthesized.

    Parameters
    ----------
    config : StackConfig
        Of the stack.
    outdir : str, optional
        Where to synthesize to; ``cdk`` says it itself.
    context : mapping, optional
        Of the app; ``cdk`` gives that of cdk.json.
    """
    app = cdk.App(outdir=outdir, context=context)
    # The account is that of the credentials: nothing is looked up, so synth needs none.
    env = cdk.Environment(region=config.target_region)
    stack = CloudBusterStack(app, config.stack_name, config=config, env=env)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app, stack


def check_context(context: Mapping[str, object]) -> None:
    """Refuse keys of the context that were meant for the configuration: no stack would read them.

    Raises
    ------
    ConfigError
        Names the form that is read.
    """
    for key, value in context.items():
        if key == CONTEXT_KEY or ":" in key or "@" in key:  # The CDK's own have one of these.
            continue
        if key in StackConfig.model_fields:
            form = json.dumps({key: _plain(value)})
            msg = f"context {key} belongs into {CONTEXT_KEY}: give -c {CONTEXT_KEY}='{form}'"
            raise ConfigError(msg)
        if difflib.get_close_matches(key.lower(), [CONTEXT_KEY], n=1, cutoff=LIKE_OURS):
            msg = f"context {key}: unknown key; did you mean {CONTEXT_KEY}?"
            raise ConfigError(msg)


def _plain(value: object) -> object:
    """Value that ``cdk -c`` gives as a text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def notes(config: StackConfig) -> list[str]:
    """Say what an operator should read at synth."""
    told = [config.disk_report()]
    if config.vpc_id is not None:
        more = ", secretsmanager" if config.catalog_secret else ""
        told.append(
            "private subnets need a NAT gateway or endpoints for s3, ecr.api, ecr.dkr, ecs, "
            f"ecs-agent, ecs-telemetry{more} and logs, and a way to the catalog"
        )
    if config.retain_data:
        told.append("cdk destroy leaves the bucket with everything in it")
    return told


def main() -> None:
    """Synthesize; one clear line where the configuration cannot be deployed."""
    context = cdk.App().node.get_all_context()
    try:
        check_context(context)
        config = parse_config(context.get(CONTEXT_KEY))
    except ConfigError as error:
        sys.exit(f"ConfigError: {error}")
    for note in notes(config):
        sys.stderr.write(f"{config.stack_name}: {note}\n")
    app, _ = make_app(config)
    app.synth()


if __name__ == "__main__":
    main()
