"""The settings that the stack gives to its functions and publishes, and their size."""

import json

from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings
from cloudbuster.storage.addresses.hosts import ALLOW_HOSTS_VARIABLE
from cloudbuster.storage.addresses.trust import FOREIGN_REQUESTS_VARIABLE
from infra.configuration.config import StackConfig

# Scenes of a round that an inline map can hold. A history ends at 25 000 events
# (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), and a scene or a part
# of a mosaic that takes a second try has 24: 800 x 24 + 200 parts x 24 + 200 for every other state
# are 24 200. tests/infra/test_history.py counts them. In a distributed map each scene has a history
# of its own.
INLINE_TASKS = 800
DISTRIBUTED_TASKS = 10_000
# Items of an inline map that run at a time:
# https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html
INLINE_CONCURRENCY = 40
# Size of all variables of a function:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. A standard parameter of
# Systems Manager may be as large.
MAX_VARIABLES_BYTES = 4096
# The longest name that S3 allows, and the longest ARN or URL of a topic, queue or state machine.
LONGEST_BUCKET, LONGEST_NAME = 63, 200


def trust_variables(config: StackConfig) -> dict[str, str]:
    """Variables of functions and jobs about the addresses that they may open.

    Those in a request are its requester's, not those of the operator of the stack.
    """
    hosts = ",".join(config.allowed_hosts)
    return {FOREIGN_REQUESTS_VARIABLE: "1", **({ALLOW_HOSTS_VARIABLE: hosts} if hosts else {})}


def variables(config: StackConfig, settings: str) -> dict[str, str]:
    """Environment of a function with these settings; a function can write to /tmp only."""
    return {
        **trust_variables(config),
        SETTINGS_VARIABLE: settings,
        "NUMBA_CACHE_DIR": "/tmp/numba",  # noqa: S108 -- the function's own
    }


def model_root(prefix: str, root: str) -> str:
    """URI of a prefix of models, without the slash at its end."""
    return (prefix if prefix.startswith("s3://") else f"{root}/{prefix}").rstrip("/")


def stack_settings(config: StackConfig, *, bucket_name: str, topic_arn: str) -> StackSettings:
    """Make the settings that all functions get; names may be tokens of the CDK."""
    distributed = config.distributed_map
    secret, publish = config.catalog_secret, config.publish
    root = f"s3://{bucket_name}"
    return StackSettings(
        root=root,
        input_roots=tuple(f"s3://{entry.name}" for entry in config.input_buckets),
        output_roots=tuple(f"s3://{entry.name}" for entry in config.output_buckets),
        model_roots=tuple(model_root(prefix, root) for prefix in config.model_prefixes),
        home=config.home_kind,
        torch=config.torch_image,
        default_request=config.default_request,
        max_running_executions=config.max_running_executions,
        max_tasks=DISTRIBUTED_TASKS if distributed else INLINE_TASKS,
        max_inline_indices=0 if distributed else INLINE_TASKS,
        merge_part_cells=config.merge_part_cells,
        gather_usd_per_hour=round(config.usd_per_hour(config.gather), 6),
        torch_usd_per_hour=round(config.usd_per_hour(config.gather, gpu=config.gpu_queue), 6),
        merge_usd_per_hour=round(config.usd_per_hour(config.merge), 6),
        gather_vcpus=config.gather.vcpus,
        merge_vcpus=config.merge.vcpus,
        gather_disk_usd_per_hour=round(config.disk_usd_per_hour(config.gather), 6),
        merge_disk_usd_per_hour=round(config.disk_usd_per_hour(config.merge), 6),
        spot=config.spot,
        gpu=config.gpu_queue,
        scratch_days=config.scratch_days,
        max_budget_usd=config.max_budget_usd,
        catalog_secret_arn=secret and secret.arn,
        catalog_variables=secret.variables if secret else (),
        publish_api=publish and publish.api,
        publish_collection=publish and publish.collection,
        publish_secret_arn=publish and publish.secret_arn,
        topic_arn=topic_arn,
    )


def longest_variables(config: StackConfig) -> int:
    """Greatest size of a function's variables as JSON, bytes."""
    name = "x" * LONGEST_NAME
    settings = stack_settings(config, bucket_name="x" * LONGEST_BUCKET, topic_arn=name)
    settings = settings.model_copy(update={"state_machine_arn": name, "queue_url": name})
    return len(json.dumps(variables(config, settings.model_dump_json(exclude_none=True))))
