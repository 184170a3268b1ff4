"""Products of a merge: the blocks of a mosaic, its parts, COGs, preview, report and STAC item.

`merge` imports every module; the planning of merges on AWS imports `parts`.
"""
