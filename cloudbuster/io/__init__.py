"""The edges: files, buckets, rasters."""
