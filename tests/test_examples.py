"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_robot_gets_masks_of_what_it_points_at_and_of_its_objects() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/robot.py"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "pointed at: " in done.stdout
    assert "object 7: " in done.stdout


@pytest.mark.slow
def test_a_client_of_the_service_points_and_reads_masks() -> None:
    pytest.importorskip("aiohttp", reason="the service needs the extra serve")
    pytest.importorskip("prometheus_client", reason="the service needs the extra serve")
    serve = [sys.executable, "-m", "sam_edge", "serve", "--port", "0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        url = next(line.split()[2].rstrip("/") for line in service.stderr if "serving on" in line)
        done = subprocess.run(
            [sys.executable, ROOT / "examples/client.py", url, "--seconds", "2"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        service.terminate()
        assert service.wait(30) == 0
    assert done.returncode == 0, done.stderr
    assert " px, IoU " in done.stdout
    assert "frozen: masks of " in done.stdout
