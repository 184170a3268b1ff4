"""What is decided for each pixel: its class in a cloud mask, and the scenes that it is made of.

Detectors and gather import `masks`, merge imports `composite`, `composite_methods` (the table of
composites), `pixel_statistics` and `held_out` (sums of a self-check).
"""
