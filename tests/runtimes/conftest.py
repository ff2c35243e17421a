"""What the tests of several runtimes share."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """CUDA's driver library of our own, which keeps a list of what it is asked."""
    if COMPILER is None:
        pytest.skip("no C compiler (gcc, cc or clang) is here")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    source = Path(__file__).parent / "cuda" / "fake_libcuda.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    loaded = ctypes.CDLL(str(path))
    loaded.fake_told.restype = ctypes.c_char_p
    return loaded
