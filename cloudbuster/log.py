"""Logging of the entry points: one line for each record, as text or as JSON."""

import logging
import sys
from datetime import UTC, datetime

import orjson

# Attributes that every record has. All others come from ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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
        return orjson.dumps(content, default=str).decode()


class TextFormatter(logging.Formatter):
    """Formats a record as ``level: event key=value key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of text."""
        values = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        return f"{record.levelname.lower()}: {record.getMessage()} {values}".rstrip()


def configure(*, as_json: bool, level: str = "WARNING") -> None:
    """Write this package's log records to stderr. Only entry points call this.

    Parameters
    ----------
    as_json : bool
        Whether each line is a JSON object.
    level : str
        Least level of the records: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger("cloudbuster")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
