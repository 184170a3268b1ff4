"""The container images."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as assets
from constructs import Construct

from infra.configuration.config import StackConfig

ROOT = Path(__file__).resolve().parents[2]


class Image(Construct):
    """One image: built from ``containers/Dockerfile``, or an existing one in ECR.

    Attributes
    ----------
    uri : str
        URI with tag or digest.
    repository : ecr.IRepository
        Repository of the image.
    version : str
        Tag or digest.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StackConfig,
        target: str,
        uri: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.uri: str
        self.repository: ecr.IRepository
        self.version: str
        if uri is None:
            asset = assets.DockerImageAsset(
                self,
                "Asset",
                directory=str(ROOT),
                file="containers/Dockerfile",
                target=target,
                platform=assets.Platform.LINUX_AMD64,
                build_args={"BASE_IMAGE": config.base_image},
                asset_name=f"cloudbuster-{target}",
            )
            self.uri, self.repository = asset.image_uri, asset.repository
            self.version = asset.image_tag
            return
        registry, _, name = uri.partition("/")
        account, region = registry.split(".")[0], registry.split(".")[3]
        repository, _, self.version = name.partition("@" if "@" in name else ":")
        self.uri = uri
        self.repository = ecr.Repository.from_repository_attributes(
            self,
            "Repository",
            repository_arn=f"arn:{cdk.Aws.PARTITION}:ecr:{region}:{account}:repository/{repository}",
            repository_name=repository,
        )
