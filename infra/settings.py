"""What the stack tells its functions, and how much of it fits."""

import json
from typing import TYPE_CHECKING

from cloudbuster.aws.settings import SETTINGS_VARIABLE, StackSettings

if TYPE_CHECKING:
    from infra.config import StackConfig

# Scenes of a round that an inline map can hold. A history ends at 25 000 events
# (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), and a scene or a part
# of a mosaic that takes a second try has 24: 800 x 24 + 200 parts x 24 + 200 for every other state
# are 24 200. tests/infra/test_history.py counts them. A distributed map has a history for each.
INLINE_TASKS = 800
DISTRIBUTED_TASKS = 10_000
# Of an inline map at a time:
# https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html
INLINE_CONCURRENCY = 40
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: of all variables.
MAX_VARIABLES_BYTES = 4096
# As long as S3 allows, and as CloudFormation, SNS, SQS and Step Functions name what they make.
LONGEST_BUCKET, LONGEST_NAME = 63, 200


def variables(settings: str) -> dict[str, str]:
    """Environment of a function; only /tmp can be written in one."""
    return {SETTINGS_VARIABLE: settings, "NUMBA_CACHE_DIR": "/tmp/numba"}  # noqa: S108 -- the function's own


def stack_settings(config: "StackConfig", *, bucket_name: str, topic_arn: str) -> StackSettings:
    """Make what every function is told; a name may be one that is known at deployment."""
    distributed = config.distributed_map
    secret = config.catalog_secret
    return StackSettings(
        root=f"s3://{bucket_name}",
        output_roots=tuple(f"s3://{name}" for name in config.output_buckets),
        home=config.home_kind,
        torch=config.torch_image,
        default_request=config.default_request,
        max_running_executions=config.max_running_executions,
        max_tasks=DISTRIBUTED_TASKS if distributed else INLINE_TASKS,
        max_inline_indices=0 if distributed else INLINE_TASKS,
        merge_part_cells=config.merge_part_cells,
        gather_usd_per_hour=round(config.usd_per_hour(config.gather), 6),
        merge_usd_per_hour=round(config.usd_per_hour(config.merge), 6),
        catalog_secret_arn=secret and secret.arn,
        catalog_variables=secret.variables if secret else (),
        topic_arn=topic_arn,
    )


def longest_variables(config: "StackConfig") -> int:
    """Bytes that the variables of a function take at most, as JSON."""
    name = "x" * LONGEST_NAME
    told = stack_settings(config, bucket_name="x" * LONGEST_BUCKET, topic_arn=name)
    told = told.model_copy(update={"state_machine_arn": name, "queue_url": name})
    return len(json.dumps(variables(told.model_dump_json(exclude_none=True))))
