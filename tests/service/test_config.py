"""What a service is told, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sam_edge.cli.serve import with_options
from sam_edge.errors import InputError
from sam_edge.service.auth import read_token
from sam_edge.service.config import ServiceConfig, Settings

FILE = """
source = "0"
outputs = ["seen.jsonl"]
[model]
threads = 2
[service]
port = 9000
origins = ["https://cam.example"]
body_timeout_s = 3
[scheduler]
refresh_s = 2.0
"""


def test_a_file_sets_what_it_says_and_the_command_line_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "sam-edge.toml").write_text(FILE)
    settings = Settings.read(tmp_path / "sam-edge.toml")
    assert (settings.source, settings.outputs, settings.model.threads) == ("0", ("seen.jsonl",), 2)
    assert (settings.service.port, settings.service.body_timeout_s) == (9000, 3.0)
    assert settings.service.origins == ("https://cam.example",)
    assert settings.stream.scheduler.refresh_s == 2.0
    changed = with_options(settings, source="scene:1", port=0, threads=None, name="other")
    assert (changed.source, changed.service.port) == ("scene:1", 0)
    assert (changed.model.threads, changed.model.name) == (2, "other")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[service]\nprot = 1", "service.prot"),
        ("[service]\nport = 70000", "70000"),
        ("[service]\nport = '80'", "service.port"),
        ("[service]\nmax_clients = 0", "max_clients"),
        ("[service]\nhead_timeout_s = nan", "head_timeout_s"),
        ("[service]\norigins = [1]", "origins"),
        ("[servce]\nport = 1", "servce"),
        ("model = 3", "model"),
        ("source = 0", "source"),
        ("[scheduler]\nx = 1", "scheduler.x"),
        ("[", "TOML"),
    ],
)
def test_what_there_is_not_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(InputError, match=named):
        Settings.read(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("given", "has_token"),
    [
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "behind_proxy": True}, False),
        ({"host": "::", "tls_cert": "c", "tls_key": "k"}, False),
        ({"host": "camera.local"}, True),
        ({"host": ""}, True),
        ({"tls_cert": "c"}, True),
    ],
)
def test_others_are_not_let_in_by_half(given: dict[str, Any], has_token: bool) -> None:
    with pytest.raises(InputError):
        ServiceConfig(**given).check(has_token)


@pytest.mark.parametrize(
    ("given", "has_token"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0", "behind_proxy": True}, True),
        ({"host": "0.0.0.0", "tls_cert": "c", "tls_key": "k"}, True),
    ],
)
def test_loopback_is_free_and_others_with_everything(given: dict[str, Any], has_token: bool) -> None:
    ServiceConfig(**given).check(has_token)


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-file-0123456789\n")
    environment = {"SAM_EDGE_TOKEN": "of-the-environment-0123"}
    assert read_token(str(tmp_path / "token"), environment) == "of-the-file-0123456789"
    assert read_token("", environment) == "of-the-environment-0123"
    assert read_token("", {}) is None


@pytest.mark.parametrize("token", ["", "short", "two words of a token", "é" * 20, "x" * 2000, "\x00" * 20])
def test_what_is_no_token_is_refused_and_not_told(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(InputError) as refused:
        read_token(str(tmp_path / "token"), {})
    assert not token or token not in str(refused.value)
