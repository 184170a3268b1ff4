"""Plan a run without running it: its scenes, its work, its costs, and what fewer scenes cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TypeVar

from cloudbuster.aws.bill import cost_lines, vcpu_hours
from cloudbuster.aws.costs import PRICES_AS_OF
from cloudbuster.aws.settings import StackSettings
from cloudbuster.core.scenes.bands import requested_bands
from cloudbuster.errors import OverBudgetError
from cloudbuster.events import OnEvent
from cloudbuster.filter import filter_scenes
from cloudbuster.gathered.resume import is_done
from cloudbuster.models import (
    Candidates,
    Document,
    ExpectedWork,
    FrontierPoint,
    GatherTask,
    MosaicRequest,
    Radiometry,
    RunPlan,
    Selection,
)
from cloudbuster.products.parts import part_windows
from cloudbuster.query import query_request
from cloudbuster.runs.expected_work import expect_work, expected_rounds, scaled_work
from cloudbuster.runs.tasks import earlier_decisions, plan_tasks
from cloudbuster.selection.clear_strategy import LookOptions
from cloudbuster.storage.files.reuse import read_earlier
from cloudbuster.storage.files.run_layout import RunLayout
from cloudbuster.storage.files.uri import join

D = TypeVar("D", bound=Document)

# A frontier of Fibonacci's numbers: dense where a further scene adds much.
FRONTIER_COUNTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610)


@dataclass(frozen=True)
class Prices:
    """Where a run is priced.

    Attributes
    ----------
    settings : StackSettings
        Prices of the jobs of a stack.
    region : str
        Region of the stack.
    """

    settings: StackSettings
    region: str


@dataclass(frozen=True)
class _Choice:
    """A selection, its tasks, and their work and costs."""

    selection: Selection
    tasks: list[GatherTask]
    plan: RunPlan

    @property
    def usd(self) -> float:
        """Expected cost of the run, US dollars; 0 if the plan has no prices."""
        return self.plan.usd or 0.0

    @property
    def point(self) -> FrontierPoint:
        """Number of scenes, clear share and cost: one point of the frontier."""
        return FrontierPoint(
            scenes=self.plan.work.scenes,
            clear_fraction=self.plan.clear_fraction,
            usd=self.usd,
        )


def priced_plan(
    selection: Selection,
    tasks: Sequence[GatherTask],
    work: ExpectedWork,
    request: MosaicRequest,
    prices: Prices,
) -> RunPlan:
    """Price the expected work of a selection.

    Parameters
    ----------
    selection, tasks, work : Selection, sequence of GatherTask, ExpectedWork
        The scenes, their tasks, and what these take.
    request : MosaicRequest
        The request.
    prices : Prices
        Where it runs.

    Returns
    -------
    RunPlan
        Without a frontier.
    """
    settings, region = prices.settings, prices.region
    jobs = merge_job_count(tasks, settings)
    lines = cost_lines(work, request, settings, region=region, merge_jobs=jobs)
    info = selection.cloudbuster
    return RunPlan(
        work=work,
        gathered_before=sum(map(is_done, tasks)),
        clear_fraction=1 - info.uncovered_by_layer[0],
        covered=info.covered,
        region=region,
        prices_as_of=PRICES_AS_OF,
        vcpu_hours=round(vcpu_hours(work, settings, merge_jobs=jobs), 4),
        costs=lines,
        usd=round(sum(line.usd for line in lines), 6),
    )


def plan_request(
    request: MosaicRequest,
    prices: Prices,
    layout: RunLayout | None = None,
    *,
    max_usd: float | None = None,
    on_event: OnEvent | None = None,
) -> RunPlan:
    """Plan the run of a request: query and filter, and nothing that is written.

    Parameters
    ----------
    request : MosaicRequest
        The request.
    prices : Prices
        Where it would run.
    layout : RunLayout, optional
        Run of this very request: its candidates, selection and scenes are used where they exist.
    max_usd : float, optional
        Most that the run may cost; see `Planner.plan`.
    on_event : callable, optional
        Progress callback.

    Raises
    ------
    OverBudgetError
        If the cheapest run costs more than ``max_usd``.
    CloudBusterError
        As query and filter.
    """
    candidates = _earlier(layout, "candidates.json", Candidates)
    selection = None if candidates is None else _earlier(layout, "selection.json", Selection)
    if candidates is None:
        candidates = query_request(request, on_event=on_event)
    with TemporaryDirectory(prefix="cloudbuster-plan-") as folder:
        scenes = join(folder, "scenes") if layout is None else layout.scenes
        planner = Planner(
            request, candidates, prices, folder=folder, scenes=scenes, on_event=on_event
        )
        return planner.plan(selection, max_usd=max_usd)


def _earlier(layout: RunLayout | None, name: str, model: type[D]) -> D | None:
    """Read a document of an earlier run; None without one."""
    return None if layout is None else read_earlier(layout.document(name), model)


class Planner:
    """Plans the runs of one request for several numbers of scenes.

    Parameters
    ----------
    request : MosaicRequest
        The request.
    candidates : Candidates
        Result of its query.
    prices : Prices
        Where it would run.
    folder : str
        Folder in which thumbnails are kept, so that each is read once.
    scenes : str
        Folder or prefix of the scenes of the run, of which some may have been gathered.
    on_event : callable, optional
        Progress callback.
    """

    def __init__(
        self,
        request: MosaicRequest,
        candidates: Candidates,
        prices: Prices,
        *,
        folder: str,
        scenes: str,
        on_event: OnEvent | None = None,
    ) -> None:
        self._request = request
        self._candidates = candidates
        self._prices = prices
        self._look = LookOptions.of(request.gather, folder)
        self._scenes = scenes
        self._on_event = on_event
        self._known: dict[str, Radiometry] = {}
        self._whole: _Choice | None = None

    def plan(self, selection: Selection | None = None, *, max_usd: float | None = None) -> RunPlan:
        """Plan a run.

        Parameters
        ----------
        selection : Selection, optional
            Selection that was made before; it is made here otherwise.
        max_usd : float, optional
            Most that the run may cost: of the plans within it, the one that shows most clear is
            returned.

        Returns
        -------
        RunPlan

        Raises
        ------
        OverBudgetError
            If the cheapest run costs more than ``max_usd``.
        NothingUsableError
            If no candidate can be used.
        """
        whole = self._whole = self._choice(selection or self._selected(None))
        most = len(whole.selection.features)
        choices = [self._choice(self._selected(count)) for count in FRONTIER_COUNTS if count < most]
        choices.append(whole)
        chosen = whole
        if max_usd is not None and whole.usd > max_usd:
            choices += self._searched(max_usd, most)
            chosen = _best_within(max_usd, choices)
        return chosen.plan.model_copy(update={"frontier": _frontier(choices)})

    def _searched(self, max_usd: float, most: int) -> list[_Choice]:
        """Search for the greatest number of scenes whose run costs at most ``max_usd``."""
        tried: list[_Choice] = []
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            tried.append(self._choice(self._selected(middle)))
            low, high = (middle, high) if tried[-1].usd <= max_usd else (low, middle)
        return tried

    def _selected(self, most: int | None) -> Selection:
        """Select scenes, at most so many."""
        request = self._request
        options = request.filter
        if most is not None:
            options = options.model_copy(update={"max_selections": most})
        bands = requested_bands(request.query.kind, request.gather.bands)
        # The progress of the first selection alone: the others find its thumbnails.
        on_event = self._on_event if most is None else None
        return filter_scenes(
            self._candidates, options, bands=bands, look=self._look, on_event=on_event
        )

    def _choice(self, selection: Selection) -> _Choice:
        """Plan the tasks of a selection; only the first plan reads headers."""
        request = self._request
        tasks = plan_tasks(
            selection,
            name=request.name,
            options=request.gather,
            output=self._scenes,
            known=self._known,
        )
        rounds = expected_rounds(selection, self._candidates, request)
        if self._whole is None:
            self._known = earlier_decisions(tasks)[0]
            work = expect_work(tasks, rounds=rounds)
        else:
            whole = self._whole
            work = scaled_work(whole.plan.work, whole.tasks, tasks, rounds=rounds)
        return _Choice(selection, tasks, priced_plan(selection, tasks, work, request, self._prices))


def _best_within(max_usd: float, choices: Sequence[_Choice]) -> _Choice:
    """Return the choice that shows most clear for at most ``max_usd``; the cheaper of equals."""
    affordable = [choice for choice in choices if choice.usd <= max_usd]
    if not affordable:
        cheapest = min(choice.usd for choice in choices)
        msg = (
            f"the cheapest run is expected to cost {cheapest:.3f} USD, over the {max_usd:g} of "
            "--max-usd: raise it"
        )
        raise OverBudgetError(msg)
    return max(affordable, key=lambda choice: (choice.plan.clear_fraction, -choice.usd))


def _frontier(choices: Sequence[_Choice]) -> tuple[FrontierPoint, ...]:
    """Return the choices of which none shows as much for less money, from the cheapest on."""
    found: list[FrontierPoint] = []
    for point in sorted(
        (choice.point for choice in choices), key=lambda point: (point.usd, -point.clear_fraction)
    ):
        if not found or point.clear_fraction > found[-1].clear_fraction:
            found.append(point)
    return tuple(found)


def merge_job_count(tasks: Sequence[GatherTask], settings: StackSettings) -> int:
    """Count the jobs of the merge: one, or one for each part with one before and one after them."""
    parts = len(part_windows(tasks[0].grid.grid(), settings.merge_part_cells)) if tasks else 1
    return parts + 2 if parts > 1 else 1


def plan_lines(plan: RunPlan) -> list[str]:
    """Describe a plan, one line each, for people."""
    work = plan.work
    before = f", {plan.gathered_before} of them gathered before" if plan.gathered_before else ""
    lines = [
        f"{_count(work.scenes, 'scene')}{before}, {_count(work.rounds, 'round')} expected: "
        f"{plan.clear_fraction:.1%} of the area is seen clear"
        f"{'' if plan.covered else ', less than asked for'}",
        f"{work.decoded_pixels / 1e6:,.1f} Mpx of bands decoded, "
        f"{work.read_bytes / 1e6:,.1f} MB read in {work.requests:,} requests, "
        f"{plan.vcpu_hours or 0:.2f} vCPU-hours",
        "",
    ]
    lines += [
        f"{line.name:24} {line.amount:>14,.3f} {line.unit:12} {line.usd:>9.4f} USD"
        for line in plan.costs
        if line.amount
    ]
    lines += [
        f"{'together':24} {'':>14} {'':12} {plan.usd or 0:>9.4f} USD",
        f"list prices of {plan.prices_as_of}, {plan.region}; products are stored for a month",
        "",
        "scenes    clear        USD",
    ]
    lines += [
        f"{point.scenes:>6}  {point.clear_fraction:>6.1%}  {point.usd:>9.4f}"
        for point in plan.frontier
    ]
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
