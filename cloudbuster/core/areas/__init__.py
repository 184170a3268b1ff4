"""Areas on the ground: areas of interest and footprints, repaired and measured.

`aoi` reads GeoJSON, `polygons` measures, `footprint` is for scenes.
"""
