"""Memory that another library holds to the interpreter's end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import numpy as np
from sam_edge.runtimes.cuda.dlpack import make_capsule

class Owner:
    memory = np.ones(6, np.float32)
    def __dlpack__(self, **_):
        return make_capsule(self, self.memory.ctypes.data, (2, 3), np.dtype("float32"), (1, 0))
    def __dlpack_device__(self):
        return (1, 0)

# The last module to be cleared.
sys.kept = [np.from_dlpack(Owner()), Owner().__dlpack__()]
"""


def test_memory_is_let_go_of_after_our_module_is_gone() -> None:
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
