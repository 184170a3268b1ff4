"""Kinds of options: the part of the request that each sets, and how lists of them are read.

The options of one part reach a command as one parameter: what was given of it. Nothing here has a
default that the model has.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence

import click

from cloudbuster.cli.parsing import EXPERT_SECTION, ListOption, ModelOption

Function = Callable[..., None]
Decorator = Callable[[Function], Function]


class RequestOption(ModelOption):
    """A field of the request itself."""


class QueryOption(ModelOption):
    """A field of ``query``."""

    part, section = "query", "Query"


class ExpertQueryOption(QueryOption):
    """A field of ``query`` that few need."""

    section = EXPERT_SECTION


class DaysOption(ListOption, QueryOption):
    """Days: ``2020-05-01 2021-05-01``."""

    further = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(,\d{4}-\d{1,2}-\d{1,2})*,?")


class BoxOption(ListOption):
    """A bounding box: ``15.0,45.9,15.2,46.1``, or four numbers in a row, in brackets or not."""

    further = re.compile(r"[\[(]?[-+]?[\d.][\d.eE+-]*(,[-+]?[\d.][\d.eE+-]*)*,?[\])]?")

    def values_in(self, word: str) -> list[str]:
        """Split a word into numbers."""
        return super().values_in(word.strip("[]() "))


class MirrorsOption(ListOption, ExpertQueryOption):
    """Mirrors: ``s3://eodata=/eodata https://host=/copy``.

    After the first one only a mirror whose FROM has a scheme can follow: a path may hold ``=``.
    """

    further = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^=]*=.+")

    def values_in(self, word: str) -> list[str]:
        """Split at commas between two mirrors; an address may hold commas itself."""
        mirrors: list[str] = []
        for piece in word.split(","):
            if mirrors and not ("=" in piece and "=" in mirrors[-1]):
                mirrors[-1] += f",{piece}"
            else:
                mirrors.append(piece)
        return mirrors


class FilterOption(ModelOption):
    """A field of ``filter``."""

    part, section = "filter", "Filter"


class ExpertFilterOption(FilterOption):
    """A field of ``filter`` that few need."""

    section = EXPERT_SECTION


class GatherOption(ModelOption):
    """A field of ``gather``."""

    part, section = "gather", "Gather"


class ExpertGatherOption(GatherOption):
    """A field of ``gather`` that few need."""

    section = EXPERT_SECTION


class BandList(ListOption):
    """Bands: ``B04 B03`` or ``b04,b8a``."""

    further = re.compile(r"B\d{1,2}A?(,B\d{1,2}A?)*,?", re.IGNORECASE)

    def values_in(self, word: str) -> list[str]:
        """Split a word into bands, in upper case."""
        return [band.upper() for band in super().values_in(word)]


class ScoreList(ListOption, ExpertFilterOption):
    """Factors of the score: ``date sun`` or ``orbit,nodata``."""

    further = re.compile(r"(date|sun|orbit|nodata|none)(,(date|sun|orbit|nodata))*,?")


class BandsOption(BandList, GatherOption):
    """Bands of the mosaic."""


class DetectorOption(ModelOption):
    """A field of ``gather.detector``."""

    part, section = "gather.detector", "Clouds"


class ClassesOption(ListOption, DetectorOption):
    """Classes: ``1,2`` or ``1 2``."""

    further = re.compile(r"\d+(,\d+)*,?")


class ExpertDetectorOption(DetectorOption):
    """A field of ``gather.detector`` that few need."""

    section = EXPERT_SECTION


class MergeOption(ModelOption):
    """A field of ``merge``."""

    part, section = "merge", "Merge"


class ExpertMergeOption(ModelOption):
    """A field of ``merge``, for experts."""

    part, section = "merge", EXPERT_SECTION


class ExpertLimitOption(ModelOption):
    """A field of ``limits``."""

    part, section = "limits", EXPERT_SECTION


class CloudOption(click.Option):
    """An option about clouds that is no field."""

    section = "Clouds"


class ExpertOption(click.Option):
    """An option that is no field, and that few need."""

    section = EXPERT_SECTION


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Keep the values that were given: not None, and not empty."""
    return {name: value for name, value in values.items() if value not in (None, (), {})}


def as_one(kind: Callable[..., object], parameter: str, options: Sequence[Decorator]) -> Decorator:
    """Give a command these options, as one ``parameter`` that is a ``kind``."""
    names = list(inspect.signature(kind).parameters)

    def decorate(command: Function) -> Function:
        """Add the options to a command."""

        @functools.wraps(command)
        def collecting(**values: object) -> None:
            """Call the command with the values of the options as one object."""
            flags = kind(**{name: values.pop(name) for name in names})
            command(**values, **{parameter: flags})

        decorated: Function = collecting
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate
