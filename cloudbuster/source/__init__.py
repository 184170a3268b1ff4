"""One Sentinel-2 scene, opened for reading: bands, masks, thumbnails, and its place on a grid.

`RasterSceneSource` is the front door; detectors and gather read scenes through it.
"""
