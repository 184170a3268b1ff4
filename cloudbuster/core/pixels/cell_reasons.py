"""Why one look at a cell was preferred to the others.

A composite decides from the looks of the scenes at a cell. For each composite there is a function
in `REASONS` that returns, from the same evidence, why each look won or lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cloudbuster.core.pixels.masks import PixelClass

LookFate = Literal["chosen", "low-rank", "later", "dearer", "refused", "used", "masked", "no-data"]


@dataclass(frozen=True)
class CellLook:
    """What one gathered raster shows of one cell.

    Attributes
    ----------
    pixel_class : PixelClass
        Class of the cell.
    backstop : bool
        Whether the raster is an unmasked backstop.
    refused : str
        Why the composite refuses the look although its mask calls it clear; empty if it does not.
    costs : mapping of str to float
        Parts of the cost by which the composite compared the look with others, by what they stand
        for; empty for a composite without costs.
    """

    pixel_class: PixelClass
    backstop: bool = False
    refused: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Sum of the costs."""
        return sum(self.costs.values())


@dataclass(frozen=True)
class LookReason:
    """Why a look won or lost.

    Attributes
    ----------
    fate : str
        One of `LookFate`.
    why : str
        Further words for a person, as ``cost 0.31, 0.12 more than that of the chosen look``; may
        be empty.
    """

    fate: LookFate
    why: str = ""


Reasons = Callable[[Sequence[CellLook], int | None], list[LookReason]]
"""From the looks of a cell in the order of preference and the position of the chosen one (None if
none was), the reason of each."""


def first_reasons(looks: Sequence[CellLook], chosen: int | None) -> list[LookReason]:
    """Give the reasons of composite `first`: the highest class wins, then the first in order."""
    best = None if chosen is None else looks[chosen]
    return [
        LookReason("chosen") if position == chosen else LookReason(_fate(look, best), look.refused)
        for position, look in enumerate(looks)
    ]


def _fate(look: CellLook, best: CellLook | None) -> LookFate:
    """Return why a look lost to the chosen one by its class and its place in the order."""
    if look.pixel_class == PixelClass.UNOBSERVED:
        return "no-data"
    if look.backstop:
        # Of the backstop, only what no clear look provides is used.
        return "later"
    if look.pixel_class == PixelClass.MASKED:
        return "masked"
    if look.refused:
        return "refused"
    is_lower = best is not None and not best.backstop and look.pixel_class < best.pixel_class
    return "low-rank" if is_lower else "later"


def cost_reasons(looks: Sequence[CellLook], chosen: int | None) -> list[LookReason]:
    """Give the reasons of a composite that prefers the look of the least cost."""
    plain = first_reasons(looks, chosen)
    if chosen is None:
        return plain
    least = looks[chosen].cost
    return [
        LookReason("dearer", _dearer(look, least))
        if reason.fate == "later" and look.costs
        else LookReason(reason.fate, _costs(look) if reason.fate == "chosen" else reason.why)
        for look, reason in zip(looks, plain, strict=True)
    ]


def _dearer(look: CellLook, least: float) -> str:
    """Describe how much more a look costs than the chosen one."""
    voted = "" if look.cost >= least else ", and its neighbours come from the same scene"
    return f"{_costs(look)}; the chosen look costs {least:.2f}{voted}"


def _costs(look: CellLook) -> str:
    """Describe the cost of a look and its parts."""
    if not look.costs:
        return ""
    parts = ", ".join(f"{name} {value:.2f}" for name, value in look.costs.items())
    return f"cost {look.cost:.2f} ({parts})"


def statistic_reasons(looks: Sequence[CellLook], chosen: int | None) -> list[LookReason]:
    """Give the reasons of a synthetic composite: every look of the best class goes into it.

    The chosen look is the one whose observation is nearest to the result.
    """
    return [
        LookReason("used") if reason.fate == "later" and not look.backstop else reason
        for look, reason in zip(looks, first_reasons(looks, chosen), strict=True)
    ]


def medoid_reasons(looks: Sequence[CellLook], chosen: int | None) -> list[LookReason]:
    """Give the reasons of composite `medoid`: the look that is nearest to all others wins."""
    return [
        LookReason("dearer", "the chosen look is nearer to all others")
        if reason.fate == "later" and not look.backstop
        else reason
        for look, reason in zip(looks, first_reasons(looks, chosen), strict=True)
    ]


REASONS: dict[str, Reasons] = {
    "first": first_reasons,
    "best": cost_reasons,
    "median": statistic_reasons,
    "medoid": medoid_reasons,
    "geomedian": statistic_reasons,
    "percentile": statistic_reasons,
}
"""Function of each composite, by its name without a parameter."""


def reasons_of(composite: str) -> Reasons:
    """Return the function of a composite; for one that is not in the table that of `first`."""
    return REASONS.get(composite.partition(":")[0], first_reasons)
