"""Coordinate reference systems: which texts of them are read, UTM zones, and transformers.

Everything but `texts` may import them.
"""
