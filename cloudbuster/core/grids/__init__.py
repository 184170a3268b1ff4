"""Pixel grids: cells on the ground, windows of them, and resampling from one grid to another.

`grid` defines `Grid`, which every raster has; `mosaic_grid` chooses that of a mosaic.
"""
