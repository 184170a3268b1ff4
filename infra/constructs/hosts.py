"""Launch template and role of every host."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.configuration.config import StackConfig
from infra.configuration.host import host_commands
from infra.policies import acknowledge

INSTANCE_POLICIES = (
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "AmazonSSMManagedInstanceCore",
)


class Hosts(Construct):
    """Launch templates and instance profile of the hosts.

    Attributes
    ----------
    profile_arn : str
        ARN of the instance profile.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StackConfig) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._key = (
            kms.Key.from_key_arn(self, "DiskKey", config.kms_key_arn)
            if config.kms_key_arn
            else None
        )
        self.profile_arn = self._instance_profile(config)

    def launch_template(self, name: str, *, image_id: str) -> ec2.LaunchTemplate:
        """Make a template with one gp3 root disk, to which AL2023 for ECS grows at its start.

        The image is in the template and nowhere else: Batch never changes an image that came from
        a template for one that is given in another way (https://docs.aws.amazon.com/batch/latest/
        userguide/ami-selection-order.html). A new version of the template replaces idle hosts.
        """
        disk = self._config.disk
        volume = ec2.BlockDeviceVolume.ebs(
            disk.gib,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            iops=disk.iops,
            throughput=disk.throughput_mibps,
            encrypted=True,
            kms_key=self._key,
            delete_on_termination=True,
        )
        commands = ec2.UserData.for_linux()
        commands.add_commands(*host_commands(self._config.scratch))
        user_data = ec2.MultipartUserData()  # Batch requires MIME.
        user_data.add_user_data_part(commands, ec2.MultipartBody.SHELL_SCRIPT)
        template = ec2.LaunchTemplate(
            self,
            name,
            block_devices=[ec2.BlockDevice(device_name="/dev/xvda", volume=volume)],
            require_imdsv2=True,
            # Containers get the credentials of their job from the ECS agent, and must not get those
            # of the host (docs/decisions/0009-credentials-of-hosts.md).
            http_put_response_hop_limit=1,
            user_data=user_data,
        )
        resource = template.node.default_child
        if isinstance(resource, ec2.CfnLaunchTemplate):
            resource.add_property_override("LaunchTemplateData.ImageId", image_id)
        return template

    def _instance_profile(self, config: StackConfig) -> str:
        policies = [iam.ManagedPolicy.from_aws_managed_policy_name(p) for p in INSTANCE_POLICIES]
        role = iam.Role(
            self,
            "InstanceRole",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            path=config.role_path,
            managed_policies=policies,
        )
        for policy in INSTANCE_POLICIES:
            finding = f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]"
            acknowledge(
                role, finding, "the needs of the agents of ECS and SSM change with their versions"
            )
        profile = iam.CfnInstanceProfile(
            self, "InstanceProfile", roles=[role.role_name], path=config.role_path
        )
        return profile.attr_arn
