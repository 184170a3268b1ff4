"""What a check found, counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloudbuster.models import Check

# Findings that a message quotes; the others are counted.
QUOTED = 3


@dataclass
class Count:
    """Counts what a check compares, and what of it disagrees.

    Attributes
    ----------
    name : str
        Name of the check.
    of : str
        What is counted, in the plural.
    checked, wrong : int
        How many were compared, and how many disagree.
    findings : list of str
        What disagrees, in words.
    """

    name: str
    of: str
    checked: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, checked: int, wrong: int = 0, finding: str = "") -> None:
        """Count some comparisons; ``finding`` describes those that disagree."""
        self.checked += int(checked)
        self.wrong += int(wrong)
        if wrong and finding and finding not in self.findings:
            self.findings.append(finding)

    def expect(self, agrees: object, finding: str) -> None:
        """Count one comparison."""
        self.add(1, int(not agrees), finding)

    @property
    def check(self) -> Check:
        """Result of the check."""
        return Check(
            name=self.name,
            status="disagrees" if self.wrong else "agrees",
            checked=self.checked,
            wrong=self.wrong,
            of=self.of,
            message=_quoted(self.findings),
        )


def not_checked(name: str, reason: str) -> Check:
    """Make the result of a check that could not be made."""
    return Check(name=name, status="not-checked", message=reason)


def _quoted(findings: Sequence[str]) -> str:
    """Join the first findings, and count the others."""
    more = len(findings) - QUOTED
    return "; ".join([*findings[:QUOTED], *([f"{more} more kinds"] if more > 0 else [])])
