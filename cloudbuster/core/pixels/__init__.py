"""What is decided for each pixel: its class in a cloud mask, and the scene that it is taken from.

Detectors and gather import `masks`, merge imports `composite`.
"""
