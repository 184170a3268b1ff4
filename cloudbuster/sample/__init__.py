"""The sample world: a deterministic Sentinel-2 catalog on disk, with its cloud-free truth."""

from cloudbuster.sample.write import SampleWorld, write_sample

__all__ = ["SampleWorld", "write_sample"]
