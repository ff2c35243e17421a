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
