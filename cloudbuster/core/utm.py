"""Zones of Universal Transverse Mercator as coordinate reference systems."""


def utm_epsg(zone: int, *, north: bool) -> int:
    """EPSG code of a UTM zone (1 to 60) of WGS 84, north or south of the equator."""
    return (32600 if north else 32700) + zone
