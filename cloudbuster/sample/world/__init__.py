"""The sample world itself: plan, ground, sky and products, as functions of coordinates and seed.

Nothing here writes a file.
"""
