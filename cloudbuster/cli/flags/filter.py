"""Options of ``filter``."""

from dataclasses import dataclass

import click

from cloudbuster.cli.flags.kinds import ExpertFilterOption, FilterOption, ScoreList, as_one, given


@dataclass(frozen=True)
class FilterFlags:
    """What was given of ``filter``: the attributes are fields of `FilterOptions`."""

    coverage_count: int | None
    max_selections: int | None
    max_uncovered: float | None
    backstop: bool | None
    name_regexp: str | None
    date_regexp: str | None
    strategy: str | None
    max_never_clear: float | None
    target_date: str | None
    score: tuple[str, ...] | None

    def fields(self) -> dict[str, object]:
        """Fields that were given."""
        fields = given(vars(self))
        return fields | {"score": ()} if self.score == ("none",) else fields


filter_options = as_one(
    FilterFlags,
    "filter_flags",
    [
        click.option(
            "--coverage-count",
            type=int,
            cls=FilterOption,
            help="How many times each place is to be seen.",
        ),
        click.option(
            "--max-selections", type=int, cls=FilterOption, help="Greatest number of scenes picked."
        ),
        click.option(
            "--max-uncovered",
            type=float,
            cls=FilterOption,
            help="Share (0 to 1) of the area, mean over the times, that may stay uncovered.",
        ),
        click.option(
            "--backstop/--no-backstop",
            default=None,
            cls=FilterOption,
            help="Pick scenes that fill what no clear pixel fills.",
        ),
        click.option("--name-regexp", cls=ExpertFilterOption, help="Keep scenes whose id matches."),
        click.option(
            "--date-regexp",
            cls=ExpertFilterOption,
            help="Keep scenes whose acquisition time (ISO 8601) matches.",
        ),
        click.option(
            "--strategy",
            type=click.Choice(["clear", "original"]),
            cls=FilterOption,
            help="Pick scenes by what their thumbnails show clear, or as the 2020 project did by "
            "footprints and cloud cover.",
        ),
        click.option(
            "--max-never-clear",
            type=float,
            cls=FilterOption,
            help="Share (0 to 1) of the area that may never be seen clear.",
        ),
        click.option(
            "--target-date",
            metavar="YYYY-MM-DD",
            cls=FilterOption,
            help="Prefer scenes near this day.",
        ),
        click.option(
            "--score",
            multiple=True,
            metavar="FACTOR...",
            cls=ScoreList,
            help="What to prefer among scenes that show as much: date, sun, orbit, nodata; none "
            "for nothing.",
        ),
    ],
)
