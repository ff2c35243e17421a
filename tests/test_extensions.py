"""The lists of CONTRIBUTING.md: one of each kind is added to a copy of the package, by its steps, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTER = ("runtimes", "exporters", "calibration", "benchmarks", "training")
Edit = tuple[str, str, str]
"""A file, the text after which a line goes, and the line."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it installs."""
    copy = tmp_path_factory.mktemp("pristine")
    leave = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(ROOT / "sam_edge", copy / "sam_edge", ignore=leave)
    for folder in OUTER:
        shutil.copytree(ROOT / folder, copy / "sam_edge" / folder, ignore=leave)
    return copy


@pytest.fixture
def extend(pristine: Path, tmp_path: Path) -> Callable[..., str]:
    """Add a file and a line to a copy of the package, run a program on it, and give back what it prints."""

    def run(new: tuple[str, str] | None, edits: Sequence[Edit], program: str) -> str:
        copy = tmp_path / "copy"
        shutil.copytree(pristine, copy, copy_function=os.link)
        contributing = (ROOT / "CONTRIBUTING.md").read_text()
        if new is not None:
            path, text = new
            assert f"`{Path(path).parent}/NAME.py`" in contributing, f"no list names {path}"
            place(copy, path).write_text(text)
        for path, after, line in edits:
            assert f"`{path}`" in contributing, f"no list names {path}"
            file = place(copy, path)
            text = file.read_text()
            assert after in text
            # The copy is of links: a new file, not the old one changed.
            file.unlink()
            file.write_text(text.replace(after, f"{after}\n{line}", 1))
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{copy}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def place(copy: Path, path: str) -> Path:
    """Where a file of the repository lies in the package."""
    return copy / path if path.startswith("sam_edge/") else copy / "sam_edge" / path


def test_a_backend_comes_by_an_entry_point(extend: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "my_npu.py").write_text(
        """
import sam_edge
from sam_edge.runtimes.null.session import NullSession

class MySession(NullSession):
    def compute(self, feeds):
        answer = dict(super().compute(feeds))
        if "iou" in answer:
            answer["iou"] += 0.5
        return answer

BACKEND = sam_edge.Backend(name="my_npu", library="my_npu", open=MySession, score=lambda machine: 999)
"""
    )
    info = tmp_path / "my_npu-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-npu\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sam_edge.backends]\nmine = my_npu:BACKEND\n")
    program = """
import numpy, sam_edge
segmenter = sam_edge.load("nano")
embedding = segmenter.encode(numpy.zeros((90, 160, 3), numpy.uint8))
print(segmenter, segmenter.decode(embedding, sam_edge.Prompt.points([(8, 8)])).predicted_iou)
"""
    printed = extend(None, (), program)
    assert "my_npu" in printed
    assert "[0.5 0.5 0.5]" in printed


def test_a_family(extend: Callable[..., str]) -> None:
    pytest.importorskip("torch")
    encoder = """
from torch import nn

class MyEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 256, 16, 16)

    def forward(self, image):
        return self.patches(image)
"""
    file = "sam_edge/modeling/families.py"
    edits = [
        (file, "from torch import nn\n", "from sam_edge.modeling.encoders.mine import MyEncoder"),
        (
            file,
            "FAMILIES: Mapping[str, Family] = {",
            '    "mine": Family(lambda: sam(MyEncoder()), SamExport, "MIT"),',
        ),
    ]
    program = """
from sam_edge.modeling.families import find_family
family = find_family("mine")
print([source.name for source in family.exportable(family.build().eval()).graphs()][:2])
"""
    assert extend(("sam_edge/modeling/encoders/mine.py", encoder), edits, program) == "['encoder', 'decoder']\n"


def test_a_frame_source(extend: Callable[..., str]) -> None:
    source = """
import numpy as np
from sam_edge.streaming.sources.source import Frame, SourceInfo

class Grey:
    info = SourceInfo((64, 48), 10.0, 3)
    lost_frames = 0

    def __iter__(self):
        return (Frame(np.full((48, 64, 3), 128, np.uint8), index, index * 10**8) for index in range(3))

    def close(self):
        pass

def open_grey(name, *, rate_hz=None):
    return Grey()
"""
    edit = (
        "sam_edge/streaming/sources/source.py",
        "SOURCES: Mapping[str, str] = {",
        '    "grey:": "sam_edge.streaming.sources.grey:open_grey",',
    )
    program = """
from sam_edge.streaming.sources.source import open_source
print([frame.capture_ns for frame in open_source("grey:1")])
"""
    printed = extend(("sam_edge/streaming/sources/grey.py", source), [edit], program)
    assert printed == "[0, 100000000, 200000000]\n"


def test_a_gaze_source_and_a_command_that_runs_it(extend: Callable[..., str]) -> None:
    source = """
from sam_edge.streaming.gaze.sample import GazeSample

def stare(name, *, repair=False):
    return [GazeSample(index * 10**8, 0.5, 0.5) for index in range(5)]
"""
    edit = (
        "sam_edge/streaming/gaze/source.py",
        "GAZE_SOURCES: Mapping[str, str] = {",
        '    "stare:": "sam_edge.streaming.gaze.recordings.stare:stare",',
    )
    program = """
from sam_edge.streaming.gaze.source import open_gaze
print(len(open_gaze("stare:here")))
"""
    assert extend(("sam_edge/streaming/gaze/recordings/stare.py", source), [edit], program) == "5\n"


def test_an_export_of_another_eye_tracker(extend: Callable[..., str]) -> None:
    reader = """
from pathlib import Path
from sam_edge.streaming.gaze.sample import GazeSample

def read_mine(name, *, repair=False):
    return [GazeSample(int(line), 0.5, 0.5) for line in Path(name).read_text().splitlines()[1:]]
"""
    edit = (
        "sam_edge/streaming/gaze/recordings/formats.py",
        "FORMATS = (",
        '    GazeFormat("Mine", ("my time",), "sam_edge.streaming.gaze.recordings.mine:read_mine"),',
    )
    program = """
from pathlib import Path
from sam_edge.streaming.gaze.source import open_gaze
Path("gaze.csv").write_text("My time [ns]\\n7\\n")
print(open_gaze("gaze.csv")[0].t_ns)
"""
    assert extend(("sam_edge/streaming/gaze/recordings/mine.py", reader), [edit], program) == "7\n"


def test_a_live_eye_tracker(extend: Callable[..., str]) -> None:
    tracker = """
import time
from sam_edge.streaming.gaze.live.tracker import Link, Tracker
from sam_edge.streaming.gaze.sample import GazeSample

def open_stare(name):
    def receive(link: Link) -> None:
        while not link.closed:
            now_ns = time.monotonic_ns()
            link.emit(GazeSample(now_ns, 0.5, 0.5, clock="host", receive_ns=now_ns))
            link.wait(timeout_s=0.01)
    return Tracker(name, receive)
"""
    edit = (
        "sam_edge/streaming/gaze/source.py",
        "LIVE_GAZE_SOURCES: Mapping[str, str] = {",
        '    "stare:": "sam_edge.streaming.gaze.live.stare:open_stare",',
    )
    program = """
from contextlib import closing
from itertools import islice
from sam_edge.streaming.gaze.source import open_live_gaze
with closing(open_live_gaze("stare://here")) as gaze:
    print([sample.x_norm for sample in islice(gaze, 3)])
"""
    printed = extend(("sam_edge/streaming/gaze/live/stare.py", tracker), [edit], program)
    assert printed == "[0.5, 0.5, 0.5]\n"


def test_a_sink(extend: Callable[..., str]) -> None:
    sink = """
from contextlib import contextmanager
from pathlib import Path

@contextmanager
def count_sink(name, frame_wh, fps):
    class Count:
        results = 0

        def write(self, frame_result):
            self.results += len(frame_result.results)

    count = Count()
    yield count
    Path(name).write_text(str(count.results))
"""
    edit = (
        "sam_edge/streaming/sinks/sink.py",
        "SINKS: Mapping[str, str] = {",
        '    ".count": "sam_edge.streaming.sinks.count:count_sink",',
    )
    program = """
from pathlib import Path
import sam_edge
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.replay import replay
from sam_edge.streaming.sources.source import open_source
gaze = [GazeSample(index * 10**7, 0.5, 0.5) for index in range(4)]
with sam_edge.load("nano", runtime="null") as segmenter:
    source = open_source("scene:0")
    class Short:
        info, lost_frames, close = source.info, 0, source.close
        def __iter__(self):
            return (frame for frame, _ in zip(source, range(2)))
    replay(segmenter, Short(), gaze, ["out.count"])
print(Path("out.count").read_text())
"""
    assert extend(("sam_edge/streaming/sinks/count.py", sink), [edit], program) == "4\n"


def test_a_command(extend: Callable[..., str]) -> None:
    command = """
import click

@click.command()
def hello():
    click.echo("hello from a new command")
"""
    edit = (
        "sam_edge/cli/__init__.py",
        "COMMANDS = {",
        '    "hello": ("sam_edge.cli.hello:hello", "Say hello."),',
    )
    program = """
from sam_edge.cli import main
main(["--help"])
main(["hello"])
"""
    printed = extend(("sam_edge/cli/hello.py", command), [edit], program)
    assert "Say hello." in printed
    assert printed.endswith("hello from a new command\n")


def test_a_metric(extend: Callable[..., str], labelled_set: Path) -> None:
    metric = """
import click
import numpy as np
from .command import Setup, evaluation, run
from .labelled import tracked
from .scores import Row

@click.command()
@evaluation
def area(setup: Setup):
    "Share of the image that each object covers."
    def rows(candidate, progress):
        return [
            Row(dataset.name, labelled.name, number, labelled.fields[number], {"area": float(np.mean(mask))})
            for dataset, images in tracked(setup.datasets, progress)
            for labelled in images
            for number, mask in labelled.masks.items()
        ]
    run(setup, rows, "area")
"""
    edit = (
        "benchmarks/quality/evaluations.py",
        "EVALUATIONS = {",
        '    "area": ("sam_edge.benchmarks.quality.area:area", "How large objects are."),',
    )
    program = f"""
from sam_edge.cli import main
main(["eval", "area", {str(labelled_set)!r}, "--runtime", "null"])
"""
    assert "area" in extend(("benchmarks/quality/area.py", metric), [edit], program)
