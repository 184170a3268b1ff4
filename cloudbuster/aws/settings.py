"""What the deployed stack tells its functions: one document in one environment variable."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from cloudbuster.core.bands import Kind
from cloudbuster.errors import RequestError
from cloudbuster.models import Document

SETTINGS_VARIABLE = "CLOUDBUSTER_STACK"


class StackSettings(Document):
    """What a function must know of its stack."""

    root: str = Field(description="URI of the stack's bucket, as s3://NAME.")
    output_roots: tuple[str, ...] = Field(
        (), description="Other buckets, as s3://NAME, that an `output` may lie in."
    )
    # The CDK leaves a null out, so that it must be the default.
    home: Kind | None = Field(
        None, description="Product level that lies in the stack's region; null for neither."
    )
    torch: bool = Field(
        default=False, description="Whether jobs with PyTorch can be run (detector pytorch)."
    )
    default_request: dict[str, Any] | None = Field(
        None, description="What a bare GeoJSON is completed with; null refuses it."
    )
    max_running_executions: int = Field(
        4, ge=1, description="Executions at a time; further requests wait."
    )
    max_tasks: int = Field(800, ge=1, description="Greatest number of scenes of one round.")
    max_inline_indices: int = Field(
        800, ge=0, description="Greatest number of indices in the state; 0 keeps them in S3."
    )
    merge_part_cells: int = Field(
        16_384,
        ge=1024,
        multiple_of=1024,
        description="Mosaics larger than this are merged in parts.",
    )
    gather_usd_per_hour: float = Field(0, ge=0, description="Price of a gather job.")
    merge_usd_per_hour: float = Field(0, ge=0, description="Price of a merge job.")
    catalog_secret_arn: str | None = Field(
        None, description="Secret that holds what catalogs ask for."
    )
    catalog_variables: tuple[str, ...] = Field(
        (), description="Environment variables that the secret holds."
    )
    state_machine_arn: str | None = Field(None, description="What start_run starts.")
    topic_arn: str | None = Field(None, description="Where outcomes and rejects are told.")
    queue_url: str | None = Field(None, description="Where requests wait.")

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "StackSettings":
        """Read the settings from ``CLOUDBUSTER_STACK``.

        Raises
        ------
        RequestError
            Where the variable is missing: the function does not run in its stack.
        """
        content = environment.get(SETTINGS_VARIABLE)
        if content is None:
            msg = f"{SETTINGS_VARIABLE} is not set; the stack sets it for each of its functions"
            raise RequestError(msg)
        return cls.model_validate_json(content)
