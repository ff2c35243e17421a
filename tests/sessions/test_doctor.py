"""The doctor on other machines, and among broken libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sam_edge.cli import doctor as command
from sam_edge.cli import main
from sam_edge.host import nvidia_driver as driver
from sam_edge.host.machine import Machine
from sam_edge.runtimes import openvino, tensorrt
from sam_edge.sessions import choice as runtime
from sam_edge.sessions import doctor
from sam_edge.sessions.doctor import Report, examine
from tests.fixtures.tables import backend, use_backends
from tests.host.machines import MACHINES, FakeDriver, jetson, npu_laptop, nvidia_desktop


def works() -> dict[str, str | None]:
    return {"cpu": None, "cuda": "no driver for it"}


def breaks() -> dict[str, str | None]:
    raise RuntimeError("the plugin\nis damaged")


TABLE = (
    backend("sound", "cpu", "cuda", score=20, device_problems=works),
    backend("plain", score=5),
    backend("broken", score=10, device_problems=breaks),
    backend("gone", library="tests.no_such_module"),
    openvino.BACKEND,
    tensorrt.BACKEND,
)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_backends(monkeypatch, *TABLE)
    monkeypatch.setattr(
        runtime, "find_spec", lambda library: library in {"numpy", "tests.no_such_module"} or None
    )
    monkeypatch.setattr(driver, "_open", lambda open_library: FakeDriver())
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))


def by_name(report: Report) -> dict[str, doctor.BackendReport]:
    return {found.name: found for found in report.runtimes}


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_gets_a_table_and_json(tmp_path: Path, name: str) -> None:
    report = examine(MACHINES[name](tmp_path / "root"))
    text = command.text(report)
    assert "* sound" in text
    assert all(line == line.rstrip() for line in text.splitlines())
    document = json.loads(json.dumps(report.document()))
    assert [found["name"] for found in document["runtimes"] if found["chosen"]] == ["sound"]
    assert document["versions"]["numpy"]
    assert {"where", "gui", "gstreamer", "ffmpeg", "problem"} < document["opencv"].keys()
    assert "GStreamer" in text


def test_what_works_and_what_does_not(tmp_path: Path) -> None:
    found = by_name(examine(npu_laptop(tmp_path / "root")))
    assert found["sound"].devices == ("sound:cpu",)
    assert found["sound"].problems == {"sound:cuda": "no driver for it"}
    assert found["plain"].devices == ("plain",)
    assert found["broken"].devices == ()
    assert found["broken"].problems == {"broken": "installed but broken: RuntimeError: the plugin is damaged"}
    assert "ModuleNotFoundError" in found["gone"].problems["gone"]
    assert found["openvino"].problems == {"openvino": "not installed: pip install 'sam-edge[openvino]'"}
    assert (found["openvino"].score, found["openvino"].version) == (50, None)
    assert found["tensorrt"].problems == {"tensorrt": "no NVIDIA GPU here"}


def test_jetson_is_told_what_apt_brings(tmp_path: Path) -> None:
    report = examine(jetson(tmp_path / "root"))
    found = by_name(report)
    assert found["tensorrt"].score == 100
    assert "sudo apt install python3-libnvinfer" in found["tensorrt"].problems["tensorrt"]
    text = command.text(report)
    assert "36.4.3, JetPack 6.1 to 6.2" in text
    assert "Orin Nano" in text
    assert "compute capability 8.6" in text


def test_drivers_that_would_help_are_named(tmp_path: Path) -> None:
    text = command.text(examine(npu_laptop(tmp_path / "root")))
    assert "intel-driver-compiler-npu" in text
    assert "renderD128 (intel)" in text


@pytest.mark.parametrize("error", [OSError("no such file"), AttributeError("cuInit"), ValueError()])
def test_a_broken_driver_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(driver, "probe", broken)
    report = examine(nvidia_desktop(tmp_path / "root"))
    assert type(error).__name__ in report.cuda
    assert "\n" not in report.cuda


def test_cache_is_measured(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tensorrt"
    folder.mkdir(parents=True)
    (folder / "a.plan").write_bytes(bytes(1000))
    (folder / "b.json").write_bytes(bytes(24))
    machine = npu_laptop(tmp_path / "root")
    report = examine(machine)
    assert (report.cache, report.cache_bytes) == (str(tmp_path / "cache"), 1024)


def test_a_version_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: str) -> object:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(doctor, "is_installed", lambda library: True)
    monkeypatch.setattr(doctor, "import_object", broken)
    assert "libnvinfer.so.10" in (doctor._version("tensorrt") or "")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_the_command_always_succeeds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    machine: Machine = MACHINES["nothing"](tmp_path / "root")
    monkeypatch.setattr(command, "this_machine", lambda: machine)
    assert main(["doctor", *arguments]) == 0
    answer = capsys.readouterr()
    assert answer.err == ""
    assert "riscv64" in answer.out
    if arguments:
        assert json.loads(answer.out)["machine"]["cores"] == 1


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out


# In a process of its own, where nothing can have imported numpy before it breaks.
WITHOUT_NUMPY = """
import importlib.abc, importlib.util, sys

class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in ("numpy", "cv2") else None

    def create_module(self, spec):
        raise ImportError("libGL.so.1: cannot open shared object file")

    def exec_module(self, module):
        pass

import sam_edge.sessions.doctor
assert "numpy" not in sys.modules
sys.meta_path.insert(0, Broken())
from sam_edge.cli import main
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_broken_numpy_and_opencv_are_told_too(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", WITHOUT_NUMPY, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for name in ("numpy", "opencv"):
        assert re.search(rf"{name}\W+[\d.]+ broken \(ImportError: libGL\.so\.1", done.stdout)
    assert "installed but broken: ImportError: libGL.so.1" in done.stdout
    assert done.stderr == ""
