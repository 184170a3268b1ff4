"""The CDK app: ``cdk synth``, ``cdk deploy`` and ``cdk destroy`` run ``python -m infra.app``."""

import sys
from collections.abc import Mapping

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import CONTEXT_KEY, ConfigError, StackConfig, parse_config
from infra.stack import CloudBusterStack


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
    context = cdk.App().node.try_get_context(CONTEXT_KEY)
    try:
        config = parse_config(context)
    except ConfigError as error:
        sys.exit(f"ConfigError: {error}")
    for note in notes(config):
        sys.stderr.write(f"{config.stack_name}: {note}\n")
    app, _ = make_app(config)
    app.synth()


if __name__ == "__main__":
    main()
