"""Thumbnails: what a scene shows clear at low resolution, read from its masks and kept in a file.

The filter imports both modules.
"""
