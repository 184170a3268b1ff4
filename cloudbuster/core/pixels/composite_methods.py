"""The table of composites: their names, and what each asks of the stages before the merge."""

import re
from dataclasses import dataclass

# A percentile is written without sign, exponent or blanks, so that it has one spelling.
PERCENTILE = re.compile(r"percentile:(0|[1-9][0-9]{0,2})(\.[0-9]{1,3})?")


@dataclass(frozen=True)
class CompositeMethod:
    """One row of the table of composites.

    Attributes
    ----------
    rule : str
        How a pixel is made, as the lineage of a mosaic says it.
    is_statistic : bool
        Whether it needs all looks at a pixel at once. Others choose a winner scene by scene.
    is_synthetic : bool
        Whether a pixel may have values that no scene has.
    layers : int or None
        How often each place is to be delivered clear; None as often as the scenes are picked for,
        because each further look improves a pixel.
    is_comparing : bool
        Whether a choice depends on the pixels of all looks, and on cells around a block
        (`cloudbuster.core.pixels.best`).
    """

    rule: str
    is_statistic: bool = False
    is_synthetic: bool = False
    layers: int | None = 1
    is_comparing: bool = False


COMPOSITE_METHODS: dict[str, CompositeMethod] = {
    "first": CompositeMethod("the bands of a pixel come from one scene"),
    "best": CompositeMethod(
        "the bands of a pixel come from one scene, the one with the least haze and shadow",
        layers=None,
        is_comparing=True,
    ),
    "median": CompositeMethod(
        "each band of a pixel is the median of its clear looks",
        is_statistic=True,
        is_synthetic=True,
        layers=None,
    ),
    "medoid": CompositeMethod(
        "the bands of a pixel come from one scene, the medoid of its clear looks",
        is_statistic=True,
        layers=None,
    ),
    "geomedian": CompositeMethod(
        "the bands of a pixel are the geometric median of its clear looks",
        is_statistic=True,
        is_synthetic=True,
        layers=None,
    ),
    "percentile": CompositeMethod(
        "each band of a pixel is a percentile of its clear looks",
        is_statistic=True,
        is_synthetic=True,
        layers=None,
    ),
}
"""Row of each composite, by its name without a parameter."""


@dataclass(frozen=True)
class Composite:
    """A composite as it was asked for.

    Attributes
    ----------
    name : str
        A key of `COMPOSITE_METHODS`.
    percent : float or None
        Percentile, 0 to 100; None for a composite without a parameter.
    """

    name: str
    percent: float | None = None

    @property
    def method(self) -> CompositeMethod:
        """Row of the composite in the table."""
        return COMPOSITE_METHODS[self.name]

    def __str__(self) -> str:
        """Return the text that `parse_composite` reads."""
        return self.name if self.percent is None else f"{self.name}:{self.percent:g}"


def parse_composite(text: str) -> Composite:
    """Parse the name of a composite.

    Parameters
    ----------
    text : str
        A name of `COMPOSITE_METHODS`, ``percentile`` with its parameter: ``percentile:25``.

    Raises
    ------
    ValueError
        If there is no such composite, or the percentile is not a number from 0 to 100.
    """
    name = text.partition(":")[0]
    if name == "percentile":
        match = PERCENTILE.fullmatch(text)
        percent = float(text.partition(":")[2]) if match else -1.0
        if not 0 <= percent <= 100:
            msg = (
                f"composite {text!r}: a percentile is a number from 0 to 100 after a colon, as in "
                "percentile:25"
            )
            raise ValueError(msg)
        return Composite(name, percent)
    if text not in COMPOSITE_METHODS:
        msg = f"composite {text!r} is unknown; choose one of {', '.join(composite_names())}"
        raise ValueError(msg)
    return Composite(text)


def composite_names() -> tuple[str, ...]:
    """Names of all composites as users write them; P stands for a number."""
    return tuple("percentile:P" if name == "percentile" else name for name in COMPOSITE_METHODS)


def delivered_layers(composite: Composite, coverage_count: int, *, self_check: bool) -> int:
    """Count how often each place is to be delivered clear for a composite.

    Parameters
    ----------
    composite : Composite
        Composite of the merge.
    coverage_count : int
        Number of layers that the scenes are picked for.
    self_check : bool
        Whether the merge holds a date out of each block, which takes one layer more.
    """
    layers = composite.method.layers
    return (coverage_count if layers is None else layers) + int(self_check)
