"""Band files of a scene: what each declares, where it lies, and its harmonised pixels.

`scene_source` and `thumbnails` import from here.
"""
