"""The report of a mosaic: one HTML page with a map to explore, a timeline and tables.

`page` writes it; the other modules make its parts. The rest of the package imports `page` alone.
"""
