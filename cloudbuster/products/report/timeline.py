"""The timeline of a mosaic: when its scenes were acquired, and when those that it does without."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cloudbuster.models import Unpicked
from cloudbuster.products.report.scene_rows import (
    SceneRow,
    colour_text,
    listed_scenes,
    scene_colour,
    without_places,
)

# Height of the tallest bar and of the smallest, pixels.
BAR_PX, LEAST_BAR_PX = 76.0, 3.0
# Share of the width that is left free on each side, so that marks and labels fit.
MARGIN = 0.04
# Pixels between marks of one day, and the rows of unpicked scenes that fit below the axis.
MARK_STEP_PX, UNPICKED_ROWS = 9, 5
# Dots of the timeline: more of them would merge on a screen.
MOST_DOTS = 300
# Characters of the reason beside a dot; the table has all of it.
REASON_CHARACTERS = 120
MAX_TICKS = 7
# Steps between ticks: days, and months.
DAY_STEPS = (1, 2, 5, 10, 15)
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60)
DAYS_PER_MONTH = 31
# Ids of Sentinel-2's products contain the day of the acquisition.
_DAY = re.compile(r"(?<!\d)(20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?!\d)")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Mark:
    """One scene on the timeline.

    Attributes
    ----------
    x : float
        Place on the axis, percent of the width.
    shift, height : float
        Shift to the side and height, pixels.
    colour : str
        Colour.
    title : str
        What it is, in words.
    scene : int or None
        Number of the scene's row; None for one that was not picked.
    """

    x: float
    shift: float
    height: float
    colour: str
    title: str
    scene: int | None = None


@dataclass(frozen=True)
class Timeline:
    """Marks over an axis of days.

    Attributes
    ----------
    used : list of Mark
        Scenes of the mosaic, as bars above the axis.
    unpicked : list of Mark
        Other scenes, as dots below the axis; ``height`` is their distance from it.
    ticks : list of tuple of float and str
        Place on the axis, percent, and label.
    most : float
        Share of the area that the tallest bar stands for.
    hidden : int
        Number of other scenes for which there is no room.
    """

    used: list[Mark]
    unpicked: list[Mark]
    ticks: list[tuple[float, str]]
    most: float
    hidden: int = 0

    @property
    def depth(self) -> float:
        """Height of the dots below the axis, pixels."""
        return max((mark.height + MARK_STEP_PX for mark in self.unpicked), default=0.0)


def make_timeline(rows: Sequence[SceneRow], unpicked: Sequence[Unpicked]) -> Timeline | None:
    """Make the timeline; None if no day is known."""
    days = [date.fromisoformat(row.day) for row in rows if row.day]
    days += [day for each in unpicked if (day := acquired_day(each))]
    if not days:
        return None
    axis = _Axis(min(days), max(days))
    most = max((row.given_share for row in rows), default=0.0) or 1.0
    used, per_day = [], Counter[date]()
    for number, row in listed_scenes(list(rows)):
        if row.day is None:
            continue
        day = date.fromisoformat(row.day)
        used.append(
            Mark(
                axis.place(day),
                per_day[day] * MARK_STEP_PX,
                max(LEAST_BAR_PX, BAR_PX * row.given_share / most),
                colour_text(scene_colour(row.indices[0])),
                f"{row.name}, {row.day}: gives {100 * row.given_share:.2f} %",
                number,
            )
        )
        per_day[day] += 1
    dots, hidden = _dots(axis, unpicked)
    return Timeline(used, dots, axis.ticks(), most, hidden)


def _dots(axis: "_Axis", unpicked: Sequence[Unpicked]) -> tuple[list[Mark], int]:
    """Return the marks of the scenes that were not picked, and how many do not fit."""
    dots: list[Mark] = []
    per_day, hidden = Counter[date](), 0
    for each in unpicked:
        day = acquired_day(each)
        if day is None:
            continue
        row = per_day[day]
        per_day[day] += 1
        if row >= UNPICKED_ROWS or len(dots) >= MOST_DOTS:
            hidden += 1
            continue
        title = f"{each.item_id}, {day}: {without_places(each.reason)[:REASON_CHARACTERS]}"
        dots.append(Mark(axis.place(day), 0, row * MARK_STEP_PX, each.stage, title))
    return dots, hidden


def acquired_day(scene: Unpicked) -> date | None:
    """Return the day of a scene, if need be by its id; None if it is unknown."""
    if scene.acquired is not None:
        return scene.acquired.astimezone(UTC).date()
    found = _DAY.search(scene.item_id)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


@dataclass(frozen=True)
class _Axis:
    """Axis from the first day to the last."""

    first: date
    last: date

    def place(self, day: date) -> float:
        """Place of a day, percent of the width."""
        span = (self.last - self.first).days
        share = (day - self.first).days / span if span else 0.5
        return round(100 * (MARGIN + (1 - 2 * MARGIN) * share), 3)

    def ticks(self) -> list[tuple[float, str]]:
        """Days to label: few enough for a narrow screen."""
        span = (self.last - self.first).days
        for step in DAY_STEPS:
            if span / step < MAX_TICKS:
                days = [self.first + timedelta(days=number) for number in range(0, span + 1, step)]
                return [(self.place(day), f"{day.day} {MONTHS[day.month - 1]}") for day in days]
        months = span / DAYS_PER_MONTH
        step = next((step for step in MONTH_STEPS if months / step < MAX_TICKS), MONTH_STEPS[-1])
        found, number = [], self.first.year * 12 + self.first.month - 1
        number += -number % step
        while (day := date(number // 12, number % 12 + 1, 1)) <= self.last:
            if day >= self.first:
                found.append(
                    (
                        self.place(day),
                        f"{MONTHS[day.month - 1]} {day.year}" if step < 12 else f"{day.year}",
                    )
                )
            number += step
        return found
