"""Raster files as GDAL opens them: where they lie, within which bounds, and how they are written.

`raster_file` opens one for reading; `tiled_raster` is the format of every one that is written.
"""
