"""Gathered scenes: the rasters and records that gather writes, resumes and hands to merge.

Gather imports `scene_writer` and `resume`; assess, merge and products import `scene_files` and
`scene_raster`; merges on AWS import `scene_lists`.
"""
