"""UTM zones as coordinate reference systems."""


def utm_epsg(zone: int, *, north: bool) -> int:
    """Return the EPSG code of a UTM zone (1 to 60) on WGS 84, north or south of the equator."""
    return (32600 if north else 32700) + zone
