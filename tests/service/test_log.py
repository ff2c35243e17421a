"""The log is one line of JSON a record, and tells no secret."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.service.log import JsonFormatter, is_journal, log_as_json

TOKEN = "0f3c9a7be1d24856b1"
VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.text()))


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    logger = logging.getLogger("sam_edge")
    before = (logger.level, logger.propagate)
    stream = io.StringIO()
    handler = log_as_json([TOKEN], stream=stream)
    yield stream
    logger.removeHandler(handler)
    logger.level, logger.propagate = before


def line_of(message: str, fields: Any = None, secrets: tuple[str, ...] = (TOKEN,)) -> str:
    record = logging.LogRecord("sam_edge.service", logging.INFO, __file__, 1, message, None, None)
    record.fields = fields
    return JsonFormatter(secrets).format(record)


def test_a_record_has_time_level_place_words_and_fields(written: io.StringIO) -> None:
    fields = {"camera": "rtsp://cam", "after_s": 3.5, "message": "not this one"}
    logging.getLogger("sam_edge.service").warning("camera %s lost", 0, extra={"fields": fields})
    found = json.loads(written.getvalue())
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "logger": "sam_edge.service",
        "message": "camera 0 lost",
        "camera": "rtsp://cam",
        "after_s": 3.5,
    }


def test_what_was_raised_is_told_in_the_same_line(written: io.StringIO) -> None:
    try:
        raise ValueError(f"bad\ntoken {TOKEN}")
    except ValueError as error:
        logging.getLogger("sam_edge.service").error("a request failed", exc_info=error)
    (line,) = written.getvalue().splitlines()
    found = json.loads(line)
    assert found["error"].startswith("ValueError: bad\ntoken ")
    assert "test_log.py" in found["trace"]
    assert TOKEN not in line


@given(message=st.text(), fields=st.dictionaries(st.text(), VALUES))
def test_every_record_is_one_line_of_strict_json(message: str, fields: dict[str, Any]) -> None:
    line = line_of(message, fields)
    assert len(line.splitlines()) == 1
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_secret_never_appears(before: str, after: str) -> None:
    text = f"{before}{TOKEN}{after}"
    assert TOKEN not in line_of(text, {"field": text, "list": [text]})


def test_a_secret_with_signs_is_hidden_in_lists_too() -> None:
    secret = "ab\\cd'ef\"ghij"
    assert "ghij" not in line_of(secret, {"list": [secret]}, (secret,))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefghijkl",
        "{'Authorization': 'Basic abcdefghijkl'}",
        "rtsp://admin:abcdefghijkl@camera.local/live",
        "GET /v1/info?token=abcdefghijkl&x=1",
        "password = abcdefghijkl",
        "SAM_EDGE_TOKEN=abcdefghijkl",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    line = line_of(text)
    assert "abcdefghijkl" not in line
    assert "[hidden]" in line


def test_a_long_message_is_cut() -> None:
    assert len(line_of("x" * 1_000_000)) < 10_000


def test_arguments_that_do_not_fit_lose_no_record() -> None:
    record = logging.LogRecord("sam_edge", logging.ERROR, __file__, 1, "%d cameras", ("many",), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "%d cameras"


def test_journald_is_told_the_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as stream:
        assert not is_journal(stream)
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(stream)
    record = logging.LogRecord("sam_edge", logging.ERROR, __file__, 1, "broken", None, None)
    assert JsonFormatter(priorities=True).format(record).startswith('<3>{"time"')
    assert not is_journal(io.StringIO())
