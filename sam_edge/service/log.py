"""The log as JSON: one line a record, on standard error, where journald reads it.

    {"time": "2026-11-28T20:15:00.123456Z", "level": "error", "logger": "sam_edge.service", "message": "..."}

    log_as_json(secrets=[token])                       # once, before the service begins
    log.warning("camera lost", extra={"fields": {"camera": "rtsp://cam", "after_s": 3.2}})

What a caller gives as `fields` stands beside these names; an exception adds `error` and `trace`. Secrets are
replaced, in whatever part of the record they stand: those that are given, passwords in addresses, and what
follows `Authorization:`, `token=` or `password=`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, TextIO

HIDDEN = "[hidden]"
MAX_TEXT = 8192
"""Characters of one value: journald cuts longer lines in two."""
MAX_FIELDS = 32
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Levels as syslog counts them, the most urgent first."""
SHORTEST_SECRET = 4
PATTERNS = (
    (re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?)(?:\w+\s+)?[^\s'\",;&]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)((?:token|password|secret)['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@'\"]+@"), rf"\1{HIDDEN}@"),
)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON.

    Args:
        secrets: texts that never appear.
        priorities: begin each line with `<N>`, by which journald knows its level.
    """

    def __init__(self, secrets: Sequence[str] = (), *, priorities: bool = False) -> None:
        super().__init__()
        # The longest first: one may be a part of another.
        long_enough = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
        # Also as they look inside a list that is shown.
        both = {*long_enough, *(repr(secret)[1:-1] for secret in long_enough)}
        self._secrets = sorted(both, key=len, reverse=True)
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc)
        values: dict[str, Any] = {
            "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._shown(_message(record)),
        }
        given = getattr(record, "fields", None)
        for name, value in list(given.items())[:MAX_FIELDS] if isinstance(given, dict) else ():
            values.setdefault(str(name)[:64], self._shown(value))
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            values["error"] = self._shown(f"{type(error).__name__}: {error}")
            # The end of a trace says what happened.
            values["trace"] = self._hide(self.formatException(record.exc_info)[-2 * MAX_TEXT :])[-MAX_TEXT:]
        line = json.dumps(values, ensure_ascii=True, allow_nan=False)
        return f"<{_priority(record.levelno)}>{line}" if self._priorities else line

    def _shown(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if abs(value) < float("inf") else str(value)
        # What is cut in two at the first limit is gone at the second.
        return self._hide(str(value)[: 2 * MAX_TEXT])[:MAX_TEXT]

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, instead in PATTERNS:
            text = pattern.sub(instead, text)
        return text


def log_as_json(
    secrets: Sequence[str] = (), *, level: int = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Send the package's log to `stream` as JSON, and nowhere else.

    Args:
        secrets: texts that never appear, such as the token.
        level: what is less urgent is left out.
        stream: None: standard error.

    Returns:
        The handler; `logging.getLogger("sam_edge").removeHandler` ends it.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(secrets, priorities=is_journal(stream)))
    logger = logging.getLogger("sam_edge")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return handler


def is_journal(stream: TextIO) -> bool:
    """Whether journald reads a stream: JOURNAL_STREAM has its device and inode."""
    wanted = os.environ.get("JOURNAL_STREAM", "")
    with suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        return wanted == f"{found.st_dev}:{found.st_ino}"
    return False


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Arguments that do not fit: the words alone are better than a lost record.
        return str(record.msg)


def _priority(level: int) -> int:
    return next((number for least, number in PRIORITIES if level >= least), 7)
