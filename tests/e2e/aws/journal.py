"""Records of the loopback AWS and failures that tests order, in files that both processes share."""

import fnmatch
import json
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4


class Journal:
    """Entries as lines of JSON; a place in it separates earlier entries from later ones."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"
        self._path.touch()
        self._lock = threading.Lock()

    def note(self, kind: str, **facts: Any) -> None:
        line = json.dumps({"kind": kind, "time": time.time(), **facts}, default=str)
        with self._lock, self._path.open("a") as file:
            file.write(f"{line}\n")

    def entries(self, kind: str | None = None, *, since: int = 0) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines()[since:]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if kind in (None, entry["kind"])]

    def place(self) -> int:
        """Number of entries."""
        return len(self._path.read_text().splitlines())


class Faults:
    """Ordered failures, one file each, which is removed after the last time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def add(self, where: str, *, times: int = 1, match: dict[str, str], **act: Any) -> None:
        """Order a failure.

        Parameters
        ----------
        where : {"submit", "attempt", "call", "invoke"}
            A SubmitJob, an attempt of a job, a call of a function that Lambda refuses, or an
            invocation of a function.
        times : int
            Number of times.
        match : dict of str to str
            Patterns for the jobs or functions that fail.
        **act
            The failure.
        """
        fault = {"where": where, "times": times, "match": match, "act": act}
        partial = self._folder / f".{uuid4().hex}"
        partial.write_text(json.dumps(fault))
        partial.rename(self._folder / f"{uuid4().hex}.json")

    def take(self, where: str, **facts: object) -> dict[str, Any] | None:
        """Return the failure that happens here, and count it; None for none."""
        with self._lock:
            for path in sorted(self._folder.glob("*.json")):
                fault = json.loads(path.read_text())
                if fault["where"] != where or not _fits(fault["match"], facts):
                    continue
                fault["times"] -= 1
                path.write_text(json.dumps(fault))
                if not fault["times"]:
                    path.unlink()
                act: dict[str, Any] = fault["act"]
                return act
        return None

    def left(self) -> list[dict[str, Any]]:
        """Failures that have not happened yet."""
        return [json.loads(path.read_text()) for path in self._folder.glob("*.json")]

    def clear(self) -> None:
        """Remove the failures that have not happened yet."""
        for path in self._folder.glob("*.json"):
            path.unlink()


def _fits(match: dict[str, str], facts: dict[str, object]) -> bool:
    return all(fnmatch.fnmatchcase(str(facts[key]), value) for key, value in match.items())
