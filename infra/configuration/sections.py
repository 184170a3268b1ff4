"""Sections of the configuration, each checked on its own."""

import re
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cloudbuster.aws.stack.catalog_secret import VARIABLES
from cloudbuster.storage.rasters.access import CDSE_KEY_VARIABLES
from infra.configuration.values import BucketName, KeyArn

# https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html: gp3 allows 0.25 MiB/s for
# each provisioned IOPS, and 500 IOPS for each GiB.
IOPS_PER_MIBPS = 4
IOPS_PER_GIB = 500
# Batch allows any timeout from a minute on. A run ends after two days; a job submitted by hand may
# take longer.
MAX_TIMEOUT_MINUTES = 14 * 24 * 60
SECRET_ARN = re.compile(
    r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}$"
)


class Section(BaseModel):
    """Base of the configuration and of its sections: immutable, without unknown values."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Disk(Section):
    """The encrypted gp3 root disk of each host, for system, images and scratch space."""

    gib: int = Field(200, ge=30, le=16_384, description="Size, GiB.")
    iops: int = Field(3000, ge=3000, le=16_000, description="Operations; 3000 are included.")
    throughput_mibps: int = Field(250, ge=125, le=1000, description="Throughput; 125 are included.")

    @model_validator(mode="after")
    def _check_ratios(self) -> Self:
        """Refuse ratios that EBS refuses only when the first host starts."""
        least = self.throughput_mibps * IOPS_PER_MIBPS
        if self.iops < least:
            msg = (
                f"throughput_mibps {self.throughput_mibps} needs iops {least}, it is {self.iops}: "
                "raise iops, or lower throughput_mibps"
            )
            raise ValueError(msg)
        most = self.gib * IOPS_PER_GIB
        if self.iops > most:
            msg = (
                f"{self.gib} GiB have at most iops {most}, it is {self.iops}: "
                "raise gib, or lower iops"
            )
            raise ValueError(msg)
        return self


class Job(Section):
    """Size of one kind of Batch job, its timeout and its attempts."""

    vcpus: int = Field(ge=1, le=96, description="Virtual processors.")
    memory_mib: int = Field(ge=512, description="Memory; the second try gets twice as much.")
    scratch_gib: int = Field(ge=1, description="Room on /scratch for one job.")
    timeout_minutes: int = Field(
        ge=1, le=MAX_TIMEOUT_MINUTES, description="Timeout of one attempt."
    )
    attempts: int = Field(
        ge=1,
        le=10,
        description="Attempts by Batch: after reclaimed hosts, failed image pulls, exit 75.",
    )


class Bucket(Section):
    """Another bucket that runs may use, and the key that encrypts it."""

    name: BucketName = Field(description="Name of the bucket.")
    kms_key_arn: KeyArn | None = Field(
        None, description="ARN of the key that encrypts it; null for the key of S3."
    )


def _named(value: object) -> object:
    """Take the bare name of a bucket for a bucket without a key."""
    return {"name": value} if isinstance(value, str) else value


BucketEntry = Annotated[Bucket, BeforeValidator(_named, json_schema_input_type=str | Bucket)]
"""A bucket in the configuration: its name, or an object with its name and its key."""


class Publish(Section):
    """A STAC API in which the item of each mosaic is published."""

    api: Annotated[str, Field(pattern=r"^https://[^\s]+$", max_length=200)] = Field(
        description="URL of the API, which has the transactions extension."
    )
    collection: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Collection, which exists already."
    )
    secret_arn: str | None = Field(
        None,
        pattern=SECRET_ARN.pattern,
        description="ARN of a secret that is the token of the API as text; null without a token.",
    )
    kms_key_arn: KeyArn | None = Field(
        None, description="ARN of the key that encrypts the secret; null for the key of AWS."
    )


class CatalogSecret(Section):
    """A secret in Secrets Manager: a JSON object with environment variables of catalogs."""

    arn: str = Field(description="ARN, with the six characters at its end.")
    variables: tuple[str, ...] = Field(min_length=1, description="Members of the object.")
    kms_key_arn: KeyArn | None = Field(
        None, description="ARN of the key that encrypts it; null for the key of AWS."
    )

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        if not SECRET_ARN.match(self.arn):
            msg = (
                f"arn {self.arn} is no whole ARN of a secret; take the one that "
                "`aws secretsmanager describe-secret --secret-id NAME` prints"
            )
            raise ValueError(msg)
        unknown = [name for name in self.variables if name not in VARIABLES]
        if unknown:
            msg = f"no catalog reads {', '.join(unknown)}; known are {', '.join(VARIABLES)}"
            raise ValueError(msg)
        lacking = set(CDSE_KEY_VARIABLES) - set(self.variables)
        if len(lacking) == 1:
            msg = f"{' and '.join(CDSE_KEY_VARIABLES)} go together: {lacking.pop()} is not given"
            raise ValueError(msg)
        return self
