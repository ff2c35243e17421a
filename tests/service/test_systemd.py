"""The service as systemd runs it: a socket to tell, signals to obey, JSON on standard error."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the service needs the extra serve")
pytest.importorskip("prometheus_client", reason="the service needs the extra serve")

PATIENCE_S = 60.0
WATCHDOG_S = 3.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE_S)
        yield listener


def heard(manager: socket.socket, name: str) -> dict[str, str]:
    """The next message that sets `name`."""
    while True:
        message = dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))
        if name in message:
            return message


def told(stderr: Iterator[str], words: str) -> dict[str, str]:
    """The next record with these words. Each line must be a record."""
    for line in stderr:
        record: dict[str, str] = json.loads(line)
        if words in record["message"]:
            return record
    pytest.fail(f"it ended, and did not say {words!r}")


def write(config: Path, text: str) -> None:
    config.write_text(f'source = "scene:1"\n[model]\nruntime = "null"\n[service]\nport = 0\n{text}\n')


@pytest.mark.slow
def test_it_is_ready_alive_reloaded_and_stopped(tmp_path: Path, manager: socket.socket) -> None:
    config = tmp_path / "sam-edge.toml"
    write(config, "max_clients = 3")
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": str(round(1e6 * WATCHDOG_S)),
    }
    command = [sys.executable, "-m", "sam_edge", "serve", "--config", str(config), "--log-json"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = heard(manager, "READY")["STATUS"].split()[2]
            told(process.stderr, address)
            assert limit(address) == 3
            heard(manager, "WATCHDOG")

            write(config, "max_clints = 4")
            process.send_signal(signal.SIGHUP)
            assert "max_clints" in told(process.stderr, "the old configuration stays")["message"]
            assert limit(address) == 3

            write(config, "max_clients = 4")
            process.send_signal(signal.SIGHUP)
            assert float(heard(manager, "RELOADING")["WATCHDOG_USEC"]) > 1e6 * WATCHDOG_S
            ready = heard(manager, "READY")
            assert float(ready["WATCHDOG_USEC"]) == 1e6 * WATCHDOG_S
            assert limit(ready["STATUS"].split()[2]) == 4
            heard(manager, "WATCHDOG")

            process.send_signal(signal.SIGTERM)
            heard(manager, "STOPPING")
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def limit(address: str) -> int:
    with urllib.request.urlopen(f"{address}v1/info", timeout=PATIENCE_S) as answer:
        return int(json.load(answer)["limits"]["max_clients"])
