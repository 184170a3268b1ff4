"""Launch template and role of every host."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.config import StackConfig
from infra.host import host_commands
from infra.policies import acknowledge

INSTANCE_POLICIES = (
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "AmazonSSMManagedInstanceCore",
)


class Hosts(Construct):
    """Launch template and instance profile of the hosts.

    Attributes
    ----------
    template : ec2.LaunchTemplate
        Launch template with one large disk.
    profile_arn : str
        ARN of the instance profile.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StackConfig) -> None:
        super().__init__(scope, construct_id)
        self.template = self._launch_template(config)
        self.profile_arn = self._instance_profile(config)

    def _launch_template(self, config: StackConfig) -> ec2.LaunchTemplate:
        """Make the template with one gp3 root disk, to which AL2023 for ECS grows at its start."""
        disk, key_arn = config.disk, config.kms_key_arn
        volume = ec2.BlockDeviceVolume.ebs(
            disk.gib,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            iops=disk.iops,
            throughput=disk.throughput_mibps,
            encrypted=True,
            kms_key=kms.Key.from_key_arn(self, "DiskKey", key_arn) if key_arn else None,
            delete_on_termination=True,
        )
        commands = ec2.UserData.for_linux()
        commands.add_commands(*host_commands(config.scratch))
        user_data = ec2.MultipartUserData()  # Batch requires MIME.
        user_data.add_user_data_part(commands, ec2.MultipartBody.SHELL_SCRIPT)
        return ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            block_devices=[ec2.BlockDevice(device_name="/dev/xvda", volume=volume)],
            require_imdsv2=True,
            http_put_response_hop_limit=2,  # A container is one hop further than its host.
            user_data=user_data,
        )

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
