"""Sample world: a synthetic Sentinel-2 catalog on disk with its cloud-free truth, deterministic.

Import `write_sample` and `SampleWorld` from here; the other modules are internal.
"""

from cloudbuster.sample.write import SampleWorld, write_sample

__all__ = ["SampleWorld", "write_sample"]
