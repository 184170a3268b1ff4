"""Products of a merge: the blocks of a mosaic, its parts, COGs, preview, report and STAC item.

`merge` imports every module but `publishing`, which posts the item to a STAC API; the planning of
merges on AWS imports `parts`.
"""
