"""The radiometric offset of a scene, decided from its metadata, its pixels and its neighbours.

`radiometry` decides; the other modules give it evidence.
"""
