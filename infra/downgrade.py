"""What a deployment would lower of that which protects data and bills."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Values = Mapping[str, Any]
"""Every value of a configuration, as JSON."""


def lowered(before: Values, after: Values) -> list[str]:
    """Describe each value that protects data less after a deployment, one phrase each.

    A value that is not in ``before`` is new in this version of the stack.

    Parameters
    ----------
    before, after : mapping
        Deployed configuration, and the one to deploy.
    """
    return [
        f"{name} {phrase}"
        for name, rule in RULES.items()
        if name in before
        for phrase in rule(before[name], after.get(name))
    ]


def _switched_off(before: object, after: object) -> Iterator[str]:
    if before and not after:
        yield "is switched off"


def _shortened(before: int | None, after: int | None) -> Iterator[str]:
    """Compare days after which something expires; None keeps it for ever."""
    if after is not None and (before is None or after < before):
        yield f"is {after}, it was {'for ever' if before is None else before}"


def _removed(before: object, after: object) -> Iterator[str]:
    if before is not None and after is None:
        yield f"is removed, it was {before}"


def _replaced(before: object, after: object) -> Iterator[str]:
    if before is not None and after != before:
        yield f"is {'removed' if after is None else after}, it was {before}"


def _entry_removed(before: list[Any], after: list[Any]) -> Iterator[str]:
    gone = [str(entry) for entry in before if entry not in (after or [])]
    if gone:
        yield f"lacks {', '.join(gone)}"


RULES: dict[str, Callable[[Any, Any], Iterator[str]]] = {
    "retain_data": _switched_off,
    "versioning": _switched_off,
    "log_days": _shortened,
    "runs_days": _shortened,
    "scratch_days": _shortened,
    "notify_emails": _entry_removed,
    # Objects that another key encrypts could no longer be read.
    "kms_key_arn": _replaced,
    "permissions_boundary": _removed,
    "max_budget_usd": _removed,
    "monthly_budget_usd": _removed,
}
