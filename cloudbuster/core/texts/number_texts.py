"""Write shares and areas for people, the same in messages and in the report."""

# Decimals of a percentage: a ten-thousandth of a large area is still a place that one can see.
PERCENT_DECIMALS = 2


def format_percent(share: float) -> str:
    """Format a share as a percentage with two decimals.

    Parameters
    ----------
    share : float
        Share, 0 to 1.

    Returns
    -------
    str
        ``"12.50 %"``. Only a share of exactly 0 or 1 is written as ``"0 %"`` or ``"100 %"``; others
        that would be rounded to it are written as ``"< 0.01 %"`` and ``"> 99.99 %"``.
    """
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    least = 10**-PERCENT_DECIMALS
    text = f"{100 * share:.{PERCENT_DECIMALS}f}"
    if float(text) == 0:
        return f"< {least} %"
    if float(text) == 100:
        return f"> {100 - least} %"
    return f"{text} %"


def format_area(km2: float) -> str:
    """Format an area in km², without unit: four significant digits, or a whole number."""
    return f"{km2:.4g}" if km2 < 1000 else f"{km2:,.0f}"
