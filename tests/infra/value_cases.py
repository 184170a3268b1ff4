"""Every value of the configuration, with a change of it and its effect on the template."""

from collections.abc import Callable
from typing import Any

from cloudbuster.aws.settings import StackSettings
from tests.infra import templates
from tests.infra.templates import Template, flat, properties, resources

Look = Callable[[Template], Any]
IMAGE = "123456789012.dkr.ecr.us-west-2.amazonaws.com/cloudbuster@sha256:" + "cd" * 32
DIGEST = "123456789012.dkr.ecr.us-west-2.amazonaws.com/torch@sha256:" + "ab" * 32
KEY = "arn:aws:kms:us-west-2:123456789012:key/00000000-0000-0000-0000-000000000000"
VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0"],
    "security_group_ids": ["sg-0123456789abcdef0"],
}
CATALOGS = "arn:aws:secretsmanager:us-west-2:123456789012:secret:catalogs-AbCd12"
# Roles that read what a request or a catalog names.
READERS = ["JobsRolesJobRole", "StagesAssessRole", "StagesFilterRole", "StagesQueryRole"]
PUBLISH = {"api": "https://stac.example.org", "collection": "mosaics", "secret_arn": CATALOGS}
CDSE = ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY")
IN_MEMORY = {"memory_mib": 12_288, "scratch_gib": 10}
HOSTS = ["catalog.lan:8080", "10.0.0.0/8"]
DEFAULTS = {"query": {"mindate": ["2020-05-01"], "maxdate": ["2020-10-01"]}}


def hosts(part: str, *keys: str) -> Look:
    """Return a look at ``keys`` of a compute environment."""

    def look(template: Template) -> Any:
        content = flat(properties(template, "Batch::ComputeEnvironment", part)["ComputeResources"])
        for key in keys:
            content = content.get(key) if isinstance(content, dict) else content
        return content

    return look


def job(part: str, *keys: str) -> Look:
    """Return a look at ``keys`` of a job definition."""

    def look(template: Template) -> Any:
        content = flat(properties(template, "Batch::JobDefinition", part))
        for key in keys:
            content = content.get(key)
        return content

    return look


def launch(template: Template) -> Any:
    """Launch template of the CPU hosts."""
    found = resources(template, "EC2::LaunchTemplate").items()
    (content,) = (entry["Properties"] for name, entry in found if "Gpu" not in name)
    return content["LaunchTemplateData"]


def disk(template: Template) -> Any:
    data = launch(template)
    content = data["BlockDeviceMappings"][0]["Ebs"]
    return [content["VolumeSize"], content["Iops"], content["Throughput"]]


def sizes(part: str) -> Look:
    return lambda template: {
        entry["Type"]: entry["Value"]
        for entry in job(part, "ContainerProperties", "ResourceRequirements")(template)
    }


def bucket(*keys: str) -> Look:
    def look(template: Template) -> Any:
        (entry,) = resources(template, "S3::Bucket").values()
        content: Any = {**entry["Properties"], **entry}
        for key in keys:
            content = content[key]
        return content

    return look


def allowed_hosts(template: Template) -> set[str]:
    """Lists of hosts in the environments of all jobs and functions."""
    jobs = resources(template, "Batch::JobDefinition").values()
    lists = [job["Properties"]["ContainerProperties"]["Environment"] for job in jobs]
    environments = [{entry["Name"]: entry["Value"] for entry in entries} for entries in lists]
    functions = resources(template, "Lambda::Function").values()
    environments += [each["Properties"]["Environment"]["Variables"] for each in functions]
    assert {each["CLOUDBUSTER_FOREIGN_REQUESTS"] for each in environments} == {"1"}
    return {each.get("CLOUDBUSTER_ALLOW_HOSTS", "") for each in environments}


def expiry(prefix: str) -> Look:
    return lambda template: [
        rule["ExpirationInDays"]
        for rule in bucket("LifecycleConfiguration", "Rules")(template)
        if rule.get("Prefix") == prefix
    ]


def count(kind: str) -> Look:
    return lambda template: len(resources(template, kind))


def state(name: str, *keys: str) -> Look:
    def look(template: Template) -> Any:
        content: Any = templates.state_machine(template)["States"].get(name, {})
        for key in keys:
            content = content.get(key, {})
        return content

    return look


def setting(key: str) -> Look:
    return lambda template: templates.settings(template, "StartRun").get(key)


def roles(key: str) -> Look:
    return lambda template: {
        str(flat(role["Properties"].get(key))) for role in resources(template, "IAM::Role").values()
    }


def user_data(template: Template) -> Any:
    data = launch(template)
    return "mkfs.ext4" in flat(data["UserData"]["Fn::Base64"])


def tmpfs(template: Template) -> Any:
    return job("Gather", "ContainerProperties", "LinuxParameters")(template).get("Tmpfs")


def job_bucket(template: Template) -> Any:
    wanted = "arn:<AWS::Partition>:s3:::our-mosaics/*"
    return [
        actions
        for actions, on in templates.statements(template, "JobsRolesJobRole")
        if on == [wanted]
    ]


def disk_key(template: Template) -> Any:
    data = launch(template)
    return data["BlockDeviceMappings"][0]["Ebs"].get("KmsKeyId")


def tags(template: Template) -> Any:
    return {"Key": "project", "Value": "mosaics"} in bucket("Properties")(template).get("Tags", [])


def home_as_read(template: Template) -> Any:
    """Home in the settings as a function reads them: the CDK omits each null."""
    return StackSettings.model_validate(templates.settings(template, "StartRun")).home or "neither"


def outputs(name: str) -> Look:
    return lambda template: name in template["Outputs"]


def pulls(template: Template) -> Any:
    granted = templates.statements(template, "JobsRolesExecutionRole")
    return next(on for actions, on in granted if "ecr:BatchGetImage" in actions)


def readers_of_the_secret(template: Template) -> Any:
    wanted = (["secretsmanager:GetSecretValue"], [CATALOGS])
    return sorted(
        name[:-8]
        for name, role in resources(template, "IAM::Role").items()
        if "Policies" in role["Properties"] and wanted in templates.statements(template, name)
    )


def readers_of(place: str) -> Look:
    """Return a look at the roles that may read the objects of a bucket or prefix."""
    wanted = f"arn:<AWS::Partition>:s3:::{place}/*"

    def look(template: Template) -> Any:
        return sorted(
            name[:-8]
            for name, role in resources(template, "IAM::Role").items()
            if "Policies" in role["Properties"]
            for actions, on in templates.statements(template, name)
            if actions == ["s3:GetObject"] and wanted in on
        )

    return look


def users_of_key(template: Template) -> Any:
    found: dict[str, list[str]] = {}
    for name, role in sorted(resources(template, "IAM::Role").items()):
        if "Policies" in role["Properties"]:
            for actions, on in templates.statements(template, name):
                if on == [KEY]:
                    found.setdefault(",".join(actions), []).append(name[:-8])
    return found


def small(vcpus: int, memory_mib: int) -> dict[str, int]:
    return {"vcpus": vcpus, "memory_mib": memory_mib}


# Name of a value, a configuration that changes it, a look at the template, and the result.
CASES: list[tuple[str, dict[str, Any], Look, Any]] = [
    ("preset", {"preset": "prod"}, disk, [500, 6000, 500]),
    ("stack_name", {"stack_name": "Ours"}, job("Gather", "JobDefinitionName"), "Ours-GatherJob"),
    ("home", {"home": "l1c"}, setting("home"), "L1C"),
    ("region", {"region": "eu-west-1"}, home_as_read, "neither"),
    ("region", {"region": "eu-west-1"}, job("Gather", "ContainerProperties", "Environment"), None),
    ("vpc_id", VPC, count("EC2::VPC"), 0),
    ("availability_zones", {"availability_zones": 3}, count("EC2::Subnet"), 3),
    ("subnet_ids", VPC, hosts("Spot", "Subnets"), VPC["subnet_ids"]),
    ("security_group_ids", VPC, hosts("Spot", "SecurityGroupIds"), VPC["security_group_ids"]),
    ("disk", {"disk": {"gib": 333, "iops": 4000, "throughput_mibps": 300}}, disk, [333, 4000, 300]),
    ("scratch", {"scratch": "nvme", "instance_classes": ["m6id"]}, user_data, True),
    (
        "scratch",
        {"scratch": "shm", "gather": IN_MEMORY, "merge": IN_MEMORY},
        tmpfs,
        [{"ContainerPath": "/scratch", "MountOptions": ["mode=1777"], "Size": 10_240}],
    ),
    (
        "ami_id",
        {"ami_id": "ami-0123456789abcdef0"},
        lambda template: flat(launch(template)["ImageId"]),
        "ami-0123456789abcdef0",
    ),
    ("spot", {"spot": False}, count("Batch::ComputeEnvironment"), 1),
    (
        "instance_classes",
        {"instance_classes": ["r6i"]},
        hosts("Spot", "InstanceTypes"),
        ["r6i.2xlarge", "r6i.4xlarge"],
    ),
    (
        "host_vcpus",
        {"host_vcpus": [8, 8]},
        hosts("Spot", "InstanceTypes"),
        ["m6i.2xlarge", "m6a.2xlarge", "m7i.2xlarge"],
    ),
    ("max_vcpus", {"max_vcpus": 8}, hosts("Spot", "MaxvCpus"), 8),
    (
        "wait_hours",
        {"wait_hours": 12},
        state("Merge", "TimeoutSeconds"),
        12 * 3600 + 4 * 360 * 60,
    ),
    ("gather", {"gather": small(4, 9000)}, sizes("Gather"), {"VCPU": "4", "MEMORY": "9000"}),
    (
        "gather",
        {"gather": {"memory_mib": 9000}},
        state("BaseImage", "Result", "more_memory"),
        "18000",
    ),
    ("gather", {"gather": {"attempts": 2}}, job("Gather", "RetryStrategy", "Attempts"), 2),
    (
        "gather",
        {"gather": {"timeout_minutes": 30}},
        job("Gather", "Timeout", "AttemptDurationSeconds"),
        1800,
    ),
    ("merge", {"merge": small(8, 20_000)}, sizes("Merge"), {"VCPU": "8", "MEMORY": "20000"}),
    ("torch_image", {"torch_image": True}, count("Batch::JobDefinition"), 3),
    ("torch_image", {"torch_image": True}, setting("torch"), True),
    (
        "gpu_queue",
        {"torch_image": True, "gpu_queue": True},
        sizes("Torch"),
        {"VCPU": "2", "MEMORY": "7600", "GPU": "1"},
    ),
    (
        "gpu_queue",
        {"torch_image": True, "gpu_queue": True},
        hosts("Gpu", "Ec2Configuration"),
        [{"ImageType": "ECS_AL2023_NVIDIA"}],
    ),
    ("gpu_queue", {"torch_image": True, "gpu_queue": True}, outputs("GpuQueueArn"), True),
    ("torch_image", {"torch_image": True}, outputs("TorchJobArn"), True),
    (
        "gpu_instance_classes",
        {"torch_image": True, "gpu_queue": True, "gpu_instance_classes": ["g6"]},
        hosts("Gpu", "InstanceTypes"),
        ["g6.2xlarge", "g6.4xlarge"],
    ),
    (
        "image_uri",
        {"image_uri": IMAGE},
        pulls,
        ["arn:<AWS::Partition>:ecr:us-west-2:123456789012:repository/cloudbuster"],
    ),
    ("image_uri", {"image_uri": IMAGE}, job("Gather", "ContainerProperties", "Image"), IMAGE),
    (
        "torch_image_uri",
        {"torch_image": True, "torch_image_uri": DIGEST},
        job("Torch", "ContainerProperties", "Image"),
        DIGEST,
    ),
    ("map_concurrency", {"map_concurrency": 3}, state("Gather", "MaxConcurrency"), 3),
    (
        "distributed_map",
        {"distributed_map": True},
        state("Gather", "ItemProcessor", "ProcessorConfig", "Mode"),
        "DISTRIBUTED",
    ),
    ("distributed_map", {"distributed_map": True}, setting("max_tasks"), 10_000),
    (
        "max_running_executions",
        {"max_running_executions": 9},
        setting("max_running_executions"),
        9,
    ),
    ("merge_part_cells", {"merge_part_cells": 8192}, setting("merge_part_cells"), 8192),
    ("default_request", {"default_request": DEFAULTS}, setting("default_request"), DEFAULTS),
    (
        "input_buckets",
        {"input_buckets": ["our-scenes"]},
        setting("input_roots"),
        ["s3://our-scenes"],
    ),
    (
        "input_buckets",
        {"input_buckets": ["our-scenes"]},
        readers_of("our-scenes"),
        READERS,
    ),
    (
        "input_buckets",
        {"input_buckets": [{"name": "our-scenes", "kms_key_arn": KEY}]},
        users_of_key,
        {"kms:Decrypt": READERS},
    ),
    (
        "output_buckets",
        {"output_buckets": ["our-mosaics"]},
        setting("output_roots"),
        ["s3://our-mosaics"],
    ),
    (
        "output_buckets",
        {"output_buckets": ["our-mosaics"]},
        readers_of("our-mosaics"),
        READERS,
    ),
    (
        "output_buckets",
        {"output_buckets": [{"name": "our-mosaics", "kms_key_arn": KEY}]},
        users_of_key,
        {
            "kms:Decrypt": READERS,
            "kms:GenerateDataKey": ["JobsRolesJobRole", "StagesQueryRole"],
        },
    ),
    (
        "model_prefixes",
        {"model_prefixes": ["s3://our-models/masks/"]},
        setting("model_roots"),
        ["s3://our-models/masks"],
    ),
    (
        "model_prefixes",
        {"model_prefixes": ["s3://our-models/masks/"]},
        readers_of("our-models/masks"),
        ["JobsRolesJobRole"],
    ),
    ("allowed_hosts", {"allowed_hosts": HOSTS}, allowed_hosts, {",".join(HOSTS)}),
    ("max_budget_usd", {"max_budget_usd": 12.5}, setting("max_budget_usd"), 12.5),
    ("monthly_budget_usd", {"monthly_budget_usd": 100}, count("Budgets::Budget"), 1),
    (
        "output_buckets",
        {"output_buckets": ["our-mosaics"]},
        job_bucket,
        [["s3:GetObject"], ["s3:PutObject", "s3:AbortMultipartUpload"]],
    ),
    (
        "catalog_secret",
        {"catalog_secret": {"arn": CATALOGS, "variables": CDSE}},
        job("Gather", "ContainerProperties", "Secrets"),
        [{"Name": name, "ValueFrom": f"{CATALOGS}:{name}::"} for name in CDSE],
    ),
    (
        "catalog_secret",
        {"catalog_secret": {"arn": CATALOGS, "variables": CDSE}},
        readers_of_the_secret,
        ["JobsRolesExecutionRole", *READERS[1:]],
    ),
    (
        "catalog_secret",
        {"catalog_secret": {"arn": CATALOGS, "variables": CDSE}},
        setting("catalog_secret_arn"),
        CATALOGS,
    ),
    (
        "catalog_secret",
        {"catalog_secret": {"arn": CATALOGS, "variables": CDSE, "kms_key_arn": KEY}},
        lambda template: (
            (["kms:Decrypt"], [KEY]) in templates.statements(template, "ExecutionRole")
        ),
        True,
    ),
    ("publish", {"publish": PUBLISH}, setting("publish_api"), PUBLISH["api"]),
    ("publish", {"publish": PUBLISH}, setting("publish_collection"), "mosaics"),
    ("publish", {"publish": PUBLISH}, setting("publish_secret_arn"), CATALOGS),
    (
        "publish",
        {"publish": {**PUBLISH, "kms_key_arn": KEY}},
        lambda template: [
            entry in templates.statements(template, "StagesFinishRole")
            for entry in (
                (["secretsmanager:GetSecretValue"], [CATALOGS]),
                (["kms:Decrypt"], [KEY]),
                (["s3:GetObject"], ["<StorageBucket5CB7C8EA.Arn>/mosaics/*"]),
            )
        ],
        [True, True, True],
    ),
    ("notify_emails", {"notify_emails": ["ops@example.org"]}, count("SNS::Subscription"), 1),
    ("scratch_days", {"scratch_days": 3}, expiry("scratch/"), [3]),
    ("runs_days", {"runs_days": 400}, expiry("runs/"), [400]),
    (
        "log_days",
        {"log_days": 7},
        lambda template: {
            entry["Properties"]["RetentionInDays"]
            for entry in resources(template, "Logs::LogGroup").values()
        },
        {7},
    ),
    ("retain_data", {"retain_data": True}, bucket("DeletionPolicy"), "Retain"),
    (
        "versioning",
        {"versioning": True},
        lambda template: bucket("Properties")(template).get("VersioningConfiguration"),
        {"Status": "Enabled"},
    ),
    (
        "permissions_boundary",
        {"permissions_boundary": "arn:aws:iam::123456789012:policy/Boundary"},
        roles("PermissionsBoundary"),
        {"arn:aws:iam::123456789012:policy/Boundary"},
    ),
    ("role_path", {"role_path": "/cloudbuster/"}, roles("Path"), {"/cloudbuster/"}),
    (
        "qualifier",
        {"qualifier": "ours"},
        lambda template: template["Parameters"]["BootstrapVersion"]["Default"],
        "/cdk-bootstrap/ours/version",
    ),
    ("tags", {"tags": {"project": "mosaics"}}, tags, True),
    ("kms_key_arn", {"kms_key_arn": KEY}, disk_key, KEY),
    (
        "kms_key_arn",
        {"kms_key_arn": KEY},
        lambda template: (
            (["kms:Decrypt", "kms:GenerateDataKey"], [KEY])
            in templates.statements(template, "JobsRolesJobRole")
        ),
        True,
    ),
]
