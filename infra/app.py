"""The CDK app: ``cdk synth``, ``cdk deploy`` and ``cdk destroy`` run ``python -m infra.app``."""

import sys
from collections.abc import Mapping

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import StackConfig
from infra.context import CONTEXT_KEY, ConfigError, check_context, parse_config
from infra.stack import CloudBusterStack


def make_app(
    config: StackConfig,
    *,
    outdir: str | None = None,
    context: Mapping[str, object] | None = None,
) -> tuple[cdk.App, CloudBusterStack]:
    """Make the app with its one stack, which cdk-nag checks when it is synthesized.

    Parameters
    ----------
    config : StackConfig
        Configuration of the stack.
    outdir : str, optional
        Folder of the result; ``cdk`` sets it by an environment variable.
    context : mapping, optional
        Context of the app; ``cdk`` passes that of cdk.json.
    """
    app = cdk.App(outdir=outdir, context=context)
    # The account is that of the credentials: nothing is looked up, so the synthesis needs none.
    env = cdk.Environment(region=config.target_region)
    stack = CloudBusterStack(app, config.stack_name, config=config, env=env)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app, stack


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
        lines.append("cdk destroy leaves the bucket with everything in it")
    return lines


def main() -> None:
    """Synthesize, or exit with one line about a configuration that cannot be deployed."""
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
