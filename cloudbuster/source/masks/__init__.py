"""Masks in files: those of a product (rasters and GML), and those that an earlier gather kept.

Detectors, gather and `thumbnails` import from here.
"""
