"""The wheel holds exactly what git tracks, and its core needs no extra."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sam_edge.cli import COMMANDS
from sam_edge.lazy import EXTRA_OF, import_object
from sam_edge.sessions.choice import BUILT_IN
from sam_edge.streaming.gaze.source import GAZE_SOURCES, LIVE_GAZE_SOURCES
from sam_edge.streaming.sinks.sink import SINKS
from sam_edge.streaming.sources.source import SOURCES

ROOT = Path(__file__).parents[1]
OUTER = ("runtimes", "exporters", "calibration", "benchmarks", "training")
LAZY = [
    *(where for where, _ in COMMANDS.values()),
    *(f"{module}:BACKEND" for module in BUILT_IN),
    *SOURCES.values(),
    *SINKS.values(),
    *GAZE_SOURCES.values(),
    *LIVE_GAZE_SOURCES.values(),
]


@pytest.mark.parametrize("where", LAZY)
def test_every_lazy_entry_imports(where: str) -> None:
    assert import_object(where) is not None


def test_wheel_holds_what_git_tracks(tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clean)], check=True)
    wheel_command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(clean)]
    subprocess.run(wheel_command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name}
    listing = subprocess.run(
        ["git", "ls-files", "sam_edge", *OUTER], cwd=ROOT, check=True, capture_output=True, text=True
    )
    # Outer folders pack their modules; what they hold besides, such as checkpoints, stays in the repository.
    tracked = {
        name if name.startswith("sam_edge/") else f"sam_edge/{name}"
        for name in listing.stdout.split()
        if name.startswith("sam_edge/") or name.endswith(".py")
    }
    assert packed == tracked


# Runs in a process of its own, where no extra's library can be found.
WITHOUT_EXTRAS = """
import importlib, importlib.abc, pkgutil, sys
from pathlib import Path

extras = set(sys.argv[1].split(","))

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import sam_edge

for info in pkgutil.walk_packages(sam_edge.__path__, "sam_edge."):
    if info.name == "sam_edge.__main__":
        continue
    try:
        importlib.import_module(info.name)
    except ModuleNotFoundError as error:
        print(info.name, error.name.partition(".")[0])
outer = sys.argv[2].split(",")
for folder in outer:
    for file in sorted(Path(folder).glob("**/*.py")):
        name = ".".join(("sam_edge", *file.with_suffix("").parts)).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            print(name, error.name.partition(".")[0])
"""


def test_every_module_imports_without_extras_or_names_one() -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, ",".join(EXTRA_OF), ",".join(OUTER)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    failed = dict(line.split() for line in done.stdout.splitlines())
    # A missing library is always one whose extra the error can name ...
    assert set(failed.values()) <= set(EXTRA_OF)
    # ... and the core is whole without any.
    # The rooms that need an extra throughout.
    needs_extra = ("sam_edge.modeling", "sam_edge.service")
    outer = tuple(f"sam_edge.{folder}" for folder in OUTER)
    assert [name for name in failed if not name.startswith((*needs_extra, *outer))] == []
