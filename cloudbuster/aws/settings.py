"""Settings of the deployed stack: one JSON document for its functions and for whoever submits."""

from collections.abc import Mapping

from pydantic import Field

from cloudbuster.core.scenes.bands import Kind
from cloudbuster.errors import RequestError
from cloudbuster.models import Address, Document, JsonObject
from cloudbuster.storage.files.documents import parse_document
from cloudbuster.storage.files.uri import join

SETTINGS_VARIABLE = "CLOUDBUSTER_STACK"
"""Environment variable of the functions that holds the document."""


class StackSettings(Document):
    """What a function, or the command line, needs to know about the stack."""

    root: Address = Field(description="URI of the stack's bucket, as s3://NAME.")
    input_roots: tuple[Address, ...] = Field(
        (), description="Other buckets, as s3://NAME, that a request may read from."
    )
    output_roots: tuple[Address, ...] = Field(
        (), description="Other buckets, as s3://NAME, that an `output` may lie in; readable too."
    )
    model_roots: tuple[Address, ...] | None = Field(
        None,
        description="Prefixes, as s3://NAME/PREFIX, of models that the operator trusts: "
        "architectures and weights may lie nowhere else. Null for models/ in the stack's bucket.",
    )
    # The CDK omits a value of null, so null must be the default.
    home: Kind | None = Field(
        None, description="Product level whose scenes lie in the stack's region; null for neither."
    )
    torch: bool = Field(
        default=False, description="Whether jobs with PyTorch can be run (detector pytorch)."
    )
    default_request: JsonObject | None = Field(
        None, description="Request without name and aoi for a bare GeoJSON; null refuses those."
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
    torch_usd_per_hour: float = Field(0, ge=0, description="Price of a gather job with PyTorch.")
    merge_usd_per_hour: float = Field(0, ge=0, description="Price of a merge job.")
    gather_vcpus: int = Field(2, ge=1, description="Virtual processors of a gather job.")
    merge_vcpus: int = Field(4, ge=1, description="Virtual processors of a merge job.")
    gather_disk_usd_per_hour: float = Field(
        0, ge=0, description="Part of the price of a gather job that its share of a disk costs."
    )
    merge_disk_usd_per_hour: float = Field(
        0, ge=0, description="Part of the price of a merge job that its share of a disk costs."
    )
    spot: bool = Field(default=True, description="Whether spot hosts are tried first.")
    gpu: bool = Field(default=False, description="Whether jobs with PyTorch get GPU hosts.")
    scratch_days: int = Field(30, ge=1, description="Days after which scenes expire.")
    max_budget_usd: float | None = Field(
        None,
        gt=0,
        description="Most that any run may cost by its estimate, US dollars, whatever its request "
        "allows; null for no limit.",
    )
    catalog_secret_arn: str | None = Field(
        None, description="ARN of the secret with the credentials of catalogs."
    )
    catalog_variables: tuple[str, ...] = Field(
        (), description="Environment variables that the secret holds."
    )
    publish_api: Address | None = Field(
        None, description="URL of the STAC API in which items are published; null for none."
    )
    publish_collection: str | None = Field(None, description="Collection of these items.")
    publish_secret_arn: str | None = Field(
        None, description="ARN of the secret with the token of that API."
    )
    state_machine_arn: str | None = Field(None, description="ARN of the state machine.")
    topic_arn: str | None = Field(None, description="ARN of the topic for outcomes and rejections.")
    queue_url: str | None = Field(None, description="URL of the queue of waiting requests.")

    @property
    def trusted_roots(self) -> tuple[str, ...]:
        """Prefixes of the models that the operator trusts."""
        return (join(self.root, "models"),) if self.model_roots is None else self.model_roots

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "StackSettings":
        """Read the settings from the variable ``CLOUDBUSTER_STACK``.

        Raises
        ------
        RequestError
            If the variable is missing, because the function does not run in its stack, or holds
            no settings of this version.
        """
        content = environment.get(SETTINGS_VARIABLE)
        if content is None:
            msg = f"{SETTINGS_VARIABLE} is not set; the stack sets it for each of its functions"
            raise RequestError(msg)
        return parse_document(content.encode(), cls, source=SETTINGS_VARIABLE)
