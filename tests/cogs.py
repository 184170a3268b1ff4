"""Validation of cloud-optimised GeoTIFFs by rio-cogeo."""

from pathlib import Path

from rio_cogeo.cogeo import cog_validate


def cog_errors(path: Path) -> list[str]:
    """Return what keeps a file from being a valid COG, missing overviews included."""
    is_valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert is_valid == (not errors and not warnings)
    return [*errors, *warnings]
