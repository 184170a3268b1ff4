"""Network of the hosts."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.configuration.config import StackConfig
from infra.policies import acknowledge

# More than any region has.
MAX_ZONES = 16


class Network(Construct):
    """Public subnets without NAT and with a gateway endpoint to S3, or an existing VPC.

    A NAT gateway bills each gigabyte of a scene, and interface endpoints bill while nothing runs.
    Hosts have public addresses, since they need a route to ECS to join; no port is open.

    Attributes
    ----------
    subnet_ids, security_group_ids : list of str
        Subnets and security groups of the hosts.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StackConfig) -> None:
        super().__init__(scope, construct_id)
        self.subnet_ids: list[str]
        self.security_group_ids: list[str]
        if config.vpc_id is None:
            vpc = self._own_vpc()
            self.subnet_ids = [subnet.subnet_id for subnet in vpc.public_subnets]
            self.security_group_ids = [self._security_group(vpc.vpc_id)]
        else:
            self.subnet_ids = list(config.subnet_ids)
            self.security_group_ids = list(config.security_group_ids) or [
                self._security_group(config.vpc_id)
            ]

    def _own_vpc(self) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            # All zones that the stack lists: spot hosts come from whichever has some.
            max_azs=MAX_ZONES,
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    map_public_ip_on_launch=True,
                    # Fixed, so that another zone leaves the subnets of the others as they are.
                    cidr_mask=20,
                )
            ],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
        )
        acknowledge(
            vpc, "VPC7", "hosts only open connections; flow logs cost more than an idle stack"
        )
        return vpc

    def _security_group(self, vpc_id: str) -> str:
        group = ec2.CfnSecurityGroup(
            self,
            "HostGroup",
            group_description="Hosts of cloudbuster: nothing in, everything out",
            vpc_id=vpc_id,
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="-1", cidr_ip="0.0.0.0/0", description="S3, ECR, ECS, catalogs"
                )
            ],
        )
        return group.attr_group_id
