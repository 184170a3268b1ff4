"""Reading of one Sentinel-2 scene: its bands, masks, radiometric offset, and warping to a grid.

Detectors and the stages open scenes with `scene_source.RasterSceneSource`; gather also uses
`placing` and `masks.donor_mask`, the planning of tasks uses `radiometry`, and the filter uses
`thumbnails`.
"""
