"""From flags to the AWS side's arguments and back to text; used by the command line alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from cloudbuster.adapters import Flags, gather_options, read_input
from cloudbuster.aws.client.deployed import DeployedStack
from cloudbuster.aws.client.doctor import examine
from cloudbuster.aws.client.jobs import (
    Submission,
    SubmitTarget,
    gather_submissions,
    merge_submission,
    submit_jobs,
)
from cloudbuster.aws.client.logs import job_log
from cloudbuster.aws.client.status import run_status
from cloudbuster.aws.client.submit import submit_request, wait_for
from cloudbuster.core.bands import Kind
from cloudbuster.errors import BadInputError, CloudBusterError, RequestError
from cloudbuster.models import MosaicName, Selection
from cloudbuster.original.documents import is_original_selection
from cloudbuster.storage.documents import parse_json, parse_selection
from cloudbuster.tasks import plan_tasks

Say = Callable[[str], None]

# Level of a document that does not tell: the original's default for these commands.
DEFAULT_KIND: Kind = "L1C"
# The pattern looks ahead, which the default engine cannot.
_NAME: TypeAdapter[str] = TypeAdapter(MosaicName, config=ConfigDict(regex_engine="python-re"))


def meta_gather(flags: Flags, say: Say) -> str:
    """``cloudbuster meta-gather``: ids of the jobs; with ``--dryrun`` the submissions."""
    _ignored(flags, "gather", say)
    name = _name(flags["name"])
    tasks = plan_tasks(
        _selection(flags, say),
        name=name,
        options=gather_options(flags),
        output=flags["output_path"].rstrip("/"),
    )
    return _submitted(gather_submissions(tasks, flags["output_path"], _target(flags)), flags)


def meta_merge(flags: Flags, say: Say) -> str:
    """``cloudbuster meta-merge``: id of the job; with ``--dryrun`` the submission."""
    _ignored(flags, "merge", say)
    submission = merge_submission(
        _name(flags["name"]), flags["input_path"], flags["output_path"], _target(flags)
    )
    return _submitted([submission], flags)


def submit(flags: Flags, say: Say) -> tuple[str, CloudBusterError | None]:
    """``cloudbuster submit``: the run as text; with ``--wait`` its outcome, and its error."""
    submitted = submit_request(
        flags["request_file"],
        DeployedStack.find(flags["stack"]),
        on_warning=lambda text: say(f"warning: {text}"),
    )
    if not flags["wait"]:
        return _json(dataclasses.asdict(submitted)), None
    ended = wait_for(submitted.execution)
    return _json(ended.outcome), ended.error


def status(flags: Flags) -> str:
    """``cloudbuster status``: where a run is, as JSON."""
    return _json(run_status(flags["run"], DeployedStack.find(flags["stack"])))


def logs(flags: Flags) -> str:
    """``cloudbuster logs``: what a job has said."""
    stack = DeployedStack.find(flags["stack"])
    return "\n".join(job_log(flags["run"], stack, job=flags["job"]))


def doctor(flags: Flags) -> tuple[str, CloudBusterError | None]:
    """``cloudbuster doctor``: a line for each finding, and the error of a stack that is ill."""
    findings = examine(DeployedStack.find(flags["stack"]))
    text = "\n".join(
        f"[{'x' if finding.ok else ' '}] {finding.what}: {finding.detail}" for finding in findings
    )
    ill = [finding.what for finding in findings if not finding.ok]
    if not ill:
        return text, None
    msg = f"{len(ill)} of {len(findings)} are not as they should be: {', '.join(ill)}"
    return text, BadInputError(msg)


def _selection(flags: Flags, say: Say) -> Selection:
    """Read the response; a document that tells its level must be of the level asked for."""
    source, kind = flags["response"], flags["kind"]
    content = read_input(source)
    selection = parse_selection(content, source=source, kind=kind or DEFAULT_KIND)
    found = selection.cloudbuster.kind
    if kind is None:
        silent = is_original_selection(parse_json(content, source=source))
        say(f"meta-gather: --kind is {found}, {'the default' if silent else 'as in the response'}")
    elif kind != found:
        msg = f"{source} selects {found} scenes, not {kind}; query those"
        raise RequestError(msg)
    return selection


def _ignored(flags: Flags, name: str, say: Say) -> None:
    """Say that a script of the original's is not run."""
    if flags[name]:
        say(f"meta-{name}: --{name} {flags[name]} is not executed: the image carries the code")


def _name(text: str) -> str:
    try:
        return _NAME.validate_python(text)
    except ValidationError as error:
        msg = (
            f"--name {text!r}: give letters, digits, ., _ and -, not beginning with backstop- or "
            "mask-"
        )
        raise RequestError(msg) from error


def _target(flags: Flags) -> SubmitTarget:
    return SubmitTarget(queue=flags["jobqueue"], definition=flags["jobdef"], tmp=flags["tmp"])


def _submitted(submissions: Sequence[Submission], flags: Flags) -> str:
    if flags["dryrun"]:
        return _json([submission.arguments for submission in submissions])
    return _json(submit_jobs(submissions))


def _json(content: Any) -> str:  # noqa: ANN401 -- any JSON value
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
