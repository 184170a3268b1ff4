"""Images of the hosts (AMIs): each deployment takes AWS's newest, and nothing patches it later."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cloudbuster.aws.client.findings import Finding
from cloudbuster.aws.outputs import HOST_IMAGE_OUTPUTS, Output, host_image_parameter
from cloudbuster.errors import BadInputError
from cloudbuster.storage.remote.boto import aws_client, translate_boto_errors

# AWS publishes a new image about every two weeks.
MAX_AGE_DAYS = 60
DEPLOY = "deploy again for the newest"


def image_findings(
    outputs: Mapping[str, str], *, own: str | None, now: datetime
) -> Iterator[Finding]:
    """Compare the images of the hosts with the newest of AWS.

    Parameters
    ----------
    outputs : mapping of str to str
        Outputs of the stack, with the ids of the images.
    own : str or None
        Id of the image that the configuration names (``ami_id``), which AWS's is not compared with.
    now : datetime
        Time of the examination.

    Raises
    ------
    AccessError, TryAgainError
        If EC2 or Systems Manager refuses to answer, or does not answer.
    """
    for output in HOST_IMAGE_OUTPUTS:
        image_id = outputs.get(output)
        if image_id is not None:
            gpu = output is Output.GPU_HOST_IMAGE
            yield _image(image_id, gpu=gpu, is_own=image_id == own, now=now)


def batch_image_findings(environments: list[dict[str, Any]]) -> Iterator[Finding]:
    """Show the status of images that Batch manages; it has none for those of a launch template.

    https://docs.aws.amazon.com/batch/latest/userguide/managing-ami-versions.html
    """
    for environment in environments:
        for entry in environment["computeResources"].get("ec2Configuration", []):
            status = entry.get("batchImageStatus")
            if status:
                what = f"image of {environment['computeEnvironmentName']} by Batch"
                hint = "" if status == "LATEST" else f": {DEPLOY}"
                yield Finding(status == "LATEST", what, f"{status}{hint}")


def _image(image_id: str, *, gpu: bool, is_own: bool, now: datetime) -> Finding:
    what = f"image of {'GPU hosts' if gpu else 'hosts'} {image_id}"
    try:
        with translate_boto_errors(f"find image {image_id}", permission="ec2:DescribeImages"):
            (found,) = aws_client("ec2").describe_images(ImageIds=[image_id])["Images"]
    except (BadInputError, ValueError):
        detail = f"does not exist any more, so that no host can start: {DEPLOY}"
        return Finding(ok=False, what=what, detail=detail)
    made = datetime.fromisoformat(found["CreationDate"].replace("Z", "+00:00")).astimezone(UTC)
    name = f"{found.get('Name', 'without a name')} of {made:%Y-%m-%d}"
    if is_own:
        return Finding(ok=True, what=what, detail=f"{name}, your own (ami_id)")
    newest = _newest(gpu=gpu)
    if newest["image_id"] == image_id:
        return Finding(ok=True, what=what, detail=f"{name}, the newest")
    days = (now - made).days
    detail = f"{name}, {days} days old; {newest['image_name']} is the newest: {DEPLOY}"
    return Finding(days <= MAX_AGE_DAYS, what, detail)


def _newest(*, gpu: bool) -> dict[str, str]:
    """Id and name of AWS's newest image."""
    names = {key: host_image_parameter(gpu=gpu, detail=key) for key in ("image_id", "image_name")}
    with translate_boto_errors(f"read {names['image_id']}", permission="ssm:GetParameters"):
        found = aws_client("ssm").get_parameters(Names=list(names.values()))["Parameters"]
    values = {entry["Name"]: str(entry["Value"]) for entry in found}
    return {key: values.get(name, "unknown") for key, name in names.items()}
