"""A real STAC API: stac-fastapi-pgstac over PostgreSQL and PostGIS, started for the session.

``make test-pgstac`` installs what it needs and says where its Python lies in `PYTHON_VARIABLE`.
Without that nothing of this folder is collected: `make test` neither runs nor counts it.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stac_items import thousand_items

PYTHON_VARIABLE = "CLOUDBUSTER_PGSTAC_PYTHON"
START_S = 60
# PostgreSQL refuses to run as root; this user comes with its package.
DATABASE_USER = "postgres"

collect_ignore_glob = [] if os.environ.get(PYTHON_VARIABLE) else ["test_*.py"]


@pytest.fixture(scope="session")
def items() -> list[dict[str, Any]]:
    """Items that the database holds."""
    return thousand_items()


@pytest.fixture(scope="session")
def stac_url(items: list[dict[str, Any]]) -> Iterator[str]:
    """URL of the API; it is stopped, and its database removed, after the last test."""
    python = os.environ[PYTHON_VARIABLE]
    with _database() as environment:
        _load(python, environment, items)
        port = _free_port()
        # Without it the database merges items with their collection, a hundred times slower.
        settings = environment | {
            "USE_API_HYDRATE": "TRUE",
            # The items of mosaics are published by it.
            "ENABLE_TRANSACTIONS_EXTENSIONS": "TRUE",
        }
        server = ["-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"]
        command = [python, *server, "--host", "127.0.0.1", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        with _running(command, settings, ready=lambda: _answers(f"{url}/_mgmt/ping")):
            yield url


@contextmanager
def _database() -> Iterator[dict[str, str]]:
    """Run a database in a folder of its own; yields the environment that leads to it."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="cloudbuster-pgstac-"))
    port = _free_port()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": DATABASE_USER, "group": _group(), "extra_groups": []}
        shutil.chown(folder, DATABASE_USER, _group())
    data, name = str(folder / "data"), ["--username", DATABASE_USER]
    create = [str(programs / "initdb"), "--pgdata", data, *name, "--auth", "trust", "--no-sync"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {
        **{"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": DATABASE_USER},
        **{"PGPASSWORD": "unused", "PGDATABASE": "postgres"},
    }
    run = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", str(folder)]
    try:
        _call([*create, "--encoding", "UTF8"], environment, **user)
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        ready = [str(programs / "pg_isready"), "--quiet"]
        with _running(
            [*run, *settings],
            environment,
            ready=lambda: subprocess.run(ready, env=environment, check=False).returncode == 0,
            **user,
        ):
            yield environment
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load(python: str, environment: dict[str, str], items: Sequence[dict[str, Any]]) -> None:
    """Make the tables of pgstac and fill them."""
    program = [python, "-m", "pypgstac.pypgstac"]
    with tempfile.TemporaryDirectory() as folder:
        collections, lines = Path(folder, "collections.ndjson"), Path(folder, "items.ndjson")
        names = sorted({item["collection"] for item in items})
        collections.write_text("\n".join(json.dumps(_collection(name)) for name in names))
        lines.write_text("\n".join(json.dumps(item) for item in items))
        _call([*program, "migrate"], environment)
        _call(
            [*program, "load", "collections", str(collections), "--method", "insert"], environment
        )
        _call([*program, "load", "items", str(lines), "--method", "insert"], environment)


def _collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "proprietary",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-23T00:00:00Z", None]]},
        },
    }


@contextmanager
def _running(
    command: Sequence[str],
    environment: dict[str, str],
    *,
    ready: Callable[[], bool],
    **user: Any,
) -> Iterator[None]:
    """Run a program until the body ends; the body starts when the program is ready."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=environment, cwd="/", stdout=log, stderr=subprocess.STDOUT, **user
        )
        try:
            end = time.monotonic() + START_S
            while not ready():
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    told = log.read().decode(errors="replace")
                    pytest.fail(f"{command[0]} did not start:\n{told}", pytrace=False)
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL: a fast shutdown
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _call(command: Sequence[str], environment: dict[str, str], **user: Any) -> None:
    result = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False, **user
    )
    if result.returncode:
        told = f"{result.stdout}\n{result.stderr}"
        pytest.fail(f"{command} ended with {result.returncode}:\n{told}", pytrace=False)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 -- the loopback
            return bool(response.status == 200)
    except OSError:
        return False


def _programs() -> Path:
    """Folder of the newest PostgreSQL, where Debian's packages put it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not found:
        pytest.fail("no PostgreSQL in /usr/lib/postgresql; run make test-pgstac", pytrace=False)
    return found[-1]


def _group() -> int:
    return pwd.getpwnam(DATABASE_USER).pw_gid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
