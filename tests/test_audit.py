"""Whether `make check` tells libraries that are sound from libraries that nobody looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "audit_libraries.py"
SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
FLAWED = {"name": "old", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "mine", "skip_reason": "not found"}


def audited(tmp_path: Path, answer: str, code: int) -> tuple[int, str]:
    """Exit code and words, when pip-audit answers so."""
    program = tmp_path / "pip_audit.py"
    program.write_text(f"import sys\nprint({answer!r})\nsys.exit({code})\n")
    command = [sys.executable, str(SCRIPT), sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("libraries", "code", "words"),
    [
        ([SOUND, UNKNOWN], 0, "1 of 2 libraries compared"),
        ([SOUND, FLAWED], 1, "old 1.0 has CVE-1, repaired in 1.1"),
        ([UNKNOWN], 0, "they are not compared"),
    ],
)
def test_what_was_found_is_told(tmp_path: Path, libraries: list[dict[str, Any]], code: int, words: str) -> None:
    given = json.dumps({"dependencies": libraries})
    assert audited(tmp_path, given, code)[0] == code
    assert words in audited(tmp_path, given, code)[1]


def test_an_index_that_is_out_of_reach_is_told(tmp_path: Path) -> None:
    code, words = audited(tmp_path, "ERROR: connection refused", 1)
    assert code == 0
    assert "cannot be reached here" in words
