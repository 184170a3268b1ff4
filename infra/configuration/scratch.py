"""The /scratch of a job."""

from typing import Any

from aws_cdk import aws_batch as batch

from infra.configuration.sections import Job


def scratch_mount(scratch: str, job: Job) -> dict[str, Any]:
    """Make the properties of a container that mount /scratch.

    Parameters
    ----------
    scratch : {"root", "nvme", "shm"}
        ``shm`` takes it from the job's memory; otherwise it is the host's folder.
    job : Job
        Kind of job.
    """
    linux: dict[str, Any] = {"init_process_enabled": True}
    if scratch == "shm":
        linux["tmpfs"] = [
            batch.CfnJobDefinition.TmpfsProperty(
                container_path="/scratch",
                size=job.scratch_gib * 1024,
                mount_options=["mode=1777"],
            )
        ]
        mounts: dict[str, Any] = {}
    else:
        mounts = {
            "volumes": [
                batch.CfnJobDefinition.VolumesProperty(
                    name="scratch",
                    host=batch.CfnJobDefinition.VolumesHostProperty(source_path="/scratch"),
                )
            ],
            "mount_points": [
                batch.CfnJobDefinition.MountPointsProperty(
                    container_path="/scratch", source_volume="scratch", read_only=False
                )
            ],
        }
    parameters = batch.CfnJobDefinition.LinuxParametersProperty(**linux)
    return {"linux_parameters": parameters, **mounts}
