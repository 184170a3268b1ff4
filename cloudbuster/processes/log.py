"""Logging of the entry points: one line for each record, as text or as JSON, without secrets."""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from cloudbuster.redaction import redacted, redacted_json, visible

# Attributes that every record has. All others come from ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What the command line writes beside its result (progress, notes, the final error): never silenced.
SPOKEN = "cloudbuster.cli"
# Python's handler of records whose logger has none; it writes bare messages to stderr.
_PYTHONS_LAST_RESORT = logging.lastResort


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """Return the values of ``extra`` of a record."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time (UTC), level, logger, event, values of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        try:
            plain = orjson.loads(orjson.dumps(content, default=str))
        except orjson.JSONEncodeError:
            # UTF-8 has no halves of characters, and orjson no integers over 64 bits.
            plain = json.loads(json.dumps(content, default=str))
        return json.dumps(redacted_json(plain))


class TextFormatter(logging.Formatter):
    """Formats a record as ``level: event key=value key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of text."""
        values = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        text = f"{record.levelname.lower()}: {record.getMessage()} {values}"
        return visible(redacted(" ".join(text.splitlines()).rstrip()))


@dataclass(frozen=True)
class LogSettings:
    """How this process logs.

    Attributes
    ----------
    as_json : bool
        Whether each line is a JSON object.
    level : str
        Least level of the records: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """

    as_json: bool = False
    level: str = "WARNING"


_settings: LogSettings | None = None


def configure(*, as_json: bool, level: str = "WARNING") -> None:
    """Write this package's log records to stderr. Only entry points call this.

    Parameters
    ----------
    as_json : bool
        Whether each line is a JSON object. Warnings of Python and records of other packages then
        are as well.
    level : str
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """
    global _settings
    _settings = LogSettings(as_json, level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger("cloudbuster")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    logging.getLogger(SPOKEN).setLevel(logging.INFO)
    logging.captureWarnings(as_json)
    logging.getLogger("py.warnings").handlers[:] = [handler]
    logging.lastResort = _other_packages_handler() if as_json else _PYTHONS_LAST_RESORT


def settings() -> LogSettings | None:
    """How `configure` was called last, for a worker that is to log alike; None if it was not."""
    return _settings


def _other_packages_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(JsonFormatter())
    return handler
