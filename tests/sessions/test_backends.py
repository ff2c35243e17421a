"""Choosing a runtime: by name, by device, or by score; and never by loading what is not chosen."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import EngineError, InputError, MissingExtraError
from sam_edge.host.machine import Machine
from sam_edge.sessions import backends as runtime
from sam_edge.sessions import scores
from sam_edge.sessions.backends import BACKENDS, Backend, best_runtime, find_loader, split_name
from tests.host.machines import bare_arm, jetson


def entry(score: int, *devices: str, library: str = "numpy", on_request: bool = False) -> Backend:
    return Backend("tests.disc_model:DiscSession", library, lambda _: score, devices, on_request=on_request)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return bare_arm(tmp_path)


def test_the_best_score_wins_of_those_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "slow": entry(1),
        "good": entry(7),
        "better_but_missing": entry(9, library="no_such_library"),
        "best_but_slow": entry(99, on_request=True),
        "best_but_half_of_it_is_missing": replace(entry(98), complete=lambda: False),
        "not_here": entry(0),
    }
    monkeypatch.setattr(runtime, "BACKENDS", table)
    assert best_runtime(machine) == "good"


def test_tensorrt_without_a_cuda_binding_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack brings TensorRT into every environment that sees the system's packages."""
    board = jetson(tmp_path)
    monkeypatch.setattr(runtime, "find_spec", lambda name: name in {"tensorrt", "onnxruntime"})
    monkeypatch.setattr(scores, "CUDA_BINDINGS", ("no_such_package.module",))
    assert best_runtime(board) == "onnxruntime"
    monkeypatch.setattr(scores, "CUDA_BINDINGS", ("numpy.linalg",))
    assert best_runtime(board) == "tensorrt"


def test_nothing_usable_names_the_first_of_the_table(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "BACKENDS", {"first": entry(9, library="no_such_library"), "second": entry(0)})
    assert best_runtime(machine) == "first"


def test_a_device_is_bound_to_the_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened(SimpleNamespace):
        def __init__(self, graph: Path, threads: int | None = None, device: str | None = None) -> None:
            super().__init__(threads=threads, device=device)

    chosen = replace(entry(1, "cpu", "GPU"), numbered=("GPU",), default="any:choice")
    first = replace(chosen, default=None)
    monkeypatch.setattr(runtime, "BACKENDS", {"multi": chosen, "first": first})
    monkeypatch.setattr(
        runtime, "import_object", lambda where: (lambda machine: "GPU") if "choice" in where else Opened
    )
    for name, device in (
        ("multi", "GPU"),
        ("first", "cpu"),
        ("multi:CPU", "cpu"),
        ("multi:gpu", "GPU"),
        ("multi:gpu.1", "GPU.1"),
    ):
        found, loader = find_loader(name)
        assert found == f"{name.partition(':')[0]}:{device}"
        opened: Any = loader(Path("graph.onnx"), 3)
        assert (opened.device, opened.threads) == (device, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "unknown runtime 'tpu': choose one of onnxruntime"),
        ("", "unknown runtime ''"),
        (":cpu", "unknown runtime ''"),
        ("onnxruntime:", "no device '': choose one of onnxruntime:cpu, onnxruntime:cuda"),
        ("onnxruntime:tpu", "no device 'tpu': choose one of onnxruntime:cpu"),
        ("onnxruntime:cpu.x", "no device 'cpu.x'"),
        ("onnxruntime:cuda.1", "no device 'cuda.1'"),
        ("onnxruntime:cpu:1", "no device 'cpu:1'"),
        ("reference:cpu", "reference has no devices to choose from: say --runtime reference"),
    ],
)
def test_wrong_names_list_the_right_ones(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_loader(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_an_input_error(text: str) -> None:
    for wanted in (text, f"onnxruntime:{text}"):
        try:
            name, device = split_name(wanted)
        except InputError:
            continue
        assert name in BACKENDS
        assert device is None or device.partition(".")[0] in BACKENDS[name].devices


def test_a_broken_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: str) -> object:
        raise ImportError("libprotobuf.so.99: cannot open\nshared object file")

    monkeypatch.setattr(runtime, "import_object", broken)
    with pytest.raises(EngineError, match=r"installed but cannot be loaded \(libprotobuf.*file\)") as caught:
        find_loader("onnxruntime")
    assert "\n" not in str(caught.value)


def test_on_jetson_a_missing_tensorrt_comes_from_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "this_machine", lambda: jetson(tmp_path))
    monkeypatch.setattr(runtime, "find_spec", lambda library: None)
    monkeypatch.setattr(runtime, "BACKENDS", {"tensorrt": entry(100, library="tensorrt")})
    with pytest.raises(MissingExtraError, match="sudo apt install python3-libnvinfer"):
        find_loader("tensorrt")


def test_choosing_imports_no_engine() -> None:
    code = (
        "import sys; from sam_edge.host.machine import this_machine; "
        "from sam_edge.sessions.backends import best_runtime; "
        "best_runtime(this_machine()); "
        "assert not {'onnxruntime', 'openvino', 'tensorrt', 'torch', 'onnx', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
