"""`make test` runs the tests with NVIDIA's builder where it can be installed, and without it elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = "NVIDIA's builder cannot be installed here: the tests that build with it are skipped"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("installs", [True, False])
def test_tests_run_with_and_without_nvidias_builder(installs: bool, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {
        "pip": f"echo pip $*; echo a long story >&2; exit {0 if installs else 1}",
        "pytest": "echo pytest runs",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (tmp_path / ".dev").touch()
    # The tests may run below a make, which would tell this one its own options.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "test", f"VENV={tmp_path}"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("pip install") and line.endswith("--group rtx") for line in lines)
    assert (SKIPPED in lines) == (not installs)
    assert lines[-1] == "pytest runs"
    assert "a long story" not in done.stderr
