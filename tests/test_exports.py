"""The package's face is what it says, and is put on only when looked at."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sam_edge


@pytest.mark.parametrize("name", sam_edge.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(sam_edge, name).__name__ == name


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        _ = sam_edge.fly


def test_help_imports_neither_numpy_nor_opencv() -> None:
    code = (
        "import sys; from sam_edge.cli import main; main(['--help']); "
        "assert not {'numpy', 'cv2', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
