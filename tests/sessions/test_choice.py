"""Choosing a runtime: by name, by device, or by score; and never by loading what is not chosen."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import EngineError, InputError, MissingExtraError
from sam_edge.host.machine import Machine
from sam_edge.runtimes.null.session import NullSession
from sam_edge.sessions import choice as runtime
from sam_edge.sessions.choice import backends, best_backend, find_runtime, split_name
from sam_edge.sessions.session import Session, SessionOptions
from tests.fixtures.tables import backend, use_backends
from tests.host.machines import bare_arm, jetson


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return bare_arm(tmp_path)


def test_the_best_score_wins_of_those_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    use_backends(
        monkeypatch,
        backend("slow", score=1),
        backend("good", score=7),
        backend("better_but_missing", score=9, library="no_such_library"),
        backend("best_but_slow", score=99, on_request=True),
        backend("best_but_half_of_it_is_missing", score=98, is_complete=lambda: False),
        backend("not_here", score=0),
    )
    assert best_backend(machine) == "good"


def test_tensorrt_without_a_cuda_binding_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack brings TensorRT into every environment that sees the system's packages."""
    board = jetson(tmp_path)
    monkeypatch.setattr(runtime, "find_spec", lambda name: name in {"tensorrt", "onnxruntime"} or None)
    assert best_backend(board) == "onnxruntime"
    monkeypatch.setattr(
        runtime, "find_spec", lambda name: name in {"tensorrt", "onnxruntime", "pycuda"} or None
    )
    assert best_backend(board) == "tensorrt"


def test_nothing_usable_names_the_first_of_the_table(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    use_backends(monkeypatch, backend("first", score=9, library="no_such_library"), backend("second", score=0))
    assert best_backend(machine) == "first"


def test_a_runtime_opens_graphs_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[SessionOptions] = []

    def noting(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        opened.append(options)
        return NullSession(graph)

    chosen = backend(
        "multi", "cpu", "GPU", loader=noting, numbered=("GPU",), default_device=lambda machine: "GPU"
    )
    use_backends(monkeypatch, chosen, replace(chosen, name="first", default_device=None))
    for name, device in (
        ("multi", "GPU"),
        ("first", "cpu"),
        ("multi:CPU", "cpu"),
        ("multi:gpu", "GPU"),
        ("multi:gpu.1", "GPU.1"),
    ):
        found = find_runtime(name)
        assert found.name == f"{name.partition(':')[0]}:{device}"
        found(find_bundle("nano").graph("encoder"), SessionOptions(threads=3))
        assert opened.pop() == SessionOptions(threads=3, device=device)


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
        find_runtime(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_an_input_error(text: str) -> None:
    for wanted in (text, f"onnxruntime:{text}"):
        try:
            name, device = split_name(wanted)
        except InputError:
            continue
        assert name in backends()
        assert device is None or device.partition(".")[0] in backends()[name].devices


def test_a_broken_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        raise ImportError("libprotobuf.so.99: cannot open\nshared object file")

    use_backends(monkeypatch, backend("broken", loader=broken))
    with pytest.raises(EngineError, match=r"installed but cannot be loaded \(libprotobuf.*file\)") as caught:
        find_runtime("broken")(Path("graph.onnx"))
    assert "\n" not in str(caught.value)


def test_on_jetson_a_missing_tensorrt_comes_from_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "this_machine", lambda: jetson(tmp_path))
    monkeypatch.setattr(runtime, "find_spec", lambda library: None)
    with pytest.raises(MissingExtraError, match="sudo apt install python3-libnvinfer"):
        find_runtime("tensorrt")


def test_choosing_imports_no_engine() -> None:
    code = (
        "import sys; from sam_edge.host.machine import this_machine; "
        "from sam_edge.sessions.choice import best_backend; "
        "best_backend(this_machine()); "
        "assert not {'onnxruntime', 'openvino', 'tensorrt', 'torch', 'onnx', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
