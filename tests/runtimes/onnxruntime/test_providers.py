"""Which devices onnxruntime can be had on, and why not on the others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.errors import EngineError
from sam_edge.host import nvidia_driver as driver
from sam_edge.runtimes.onnxruntime import providers
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime.providers import PROVIDER_OF
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.host.machines import FakeDriver, jetson, nvidia_desktop
from tests.runtimes.onnxruntime.graphs import write_encoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


def no_driver(name: str) -> None:
    raise OSError(name)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_no_device_is_said_and_never_replaced_by_the_cpu(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(no_driver))
    with pytest.raises(EngineError, match="no NVIDIA GPU here"):
        OnnxRuntimeSession(encoder, SessionOptions(device=device))


def test_a_build_without_cuda_says_what_to_install(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(FakeDriver()))
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"without cuda: pip uninstall onnxruntime.*sam-edge\[gpu\]"):
        OnnxRuntimeSession(encoder, SessionOptions(device="cuda"))
    monkeypatch.setattr(providers, "this_machine", lambda: jetson(tmp_path / "jetson"))
    with pytest.raises(EngineError, match="NVIDIA makes for this JetPack"):
        OnnxRuntimeSession(encoder, SessionOptions(device="cuda"))


def test_an_old_driver_is_refused_before_anything_loads(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(FakeDriver(version=12020)))
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: list(providers.PROVIDER_OF.values()))
    monkeypatch.setattr(providers, "_built_for_cuda", lambda: "13.0")
    with pytest.raises(
        EngineError, match=r"CUDA 13\.0, the NVIDIA driver speaks 12\.2 at most: install driver 580"
    ):
        OnnxRuntimeSession(encoder, SessionOptions(device="cuda"))
    monkeypatch.setattr(providers, "this_machine", lambda: jetson(tmp_path / "jetson"))
    with pytest.raises(EngineError, match=r"speaks 12\.2 at most: install .* NVIDIA makes for this JetPack"):
        OnnxRuntimeSession(encoder, SessionOptions(device="cuda"))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("libcudnn.so.9: cannot open shared object file", "libcudnn.so.9 is not found; pip install"),
        ("libnvinfer.so.10: cannot open shared object file", "libnvinfer.so.10 is not found; install that"),
        ("libonnxruntime_providers_cuda.so: undefined symbol: x", "undefined symbol: x"),
        (None, "it does not say why"),
    ],
)
def test_a_provider_that_did_not_start_is_an_error_with_the_loaders_reason(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, loader: str | None, message: str
) -> None:
    """onnxruntime made a session without CUDA and said nothing."""

    def cannot(path: str) -> None:
        if loader is not None:
            raise OSError(loader)

    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(providers.ctypes, "CDLL", cannot)
    monkeypatch.setattr(providers.ort, "InferenceSession", lambda *_, **__: session)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    with pytest.raises(EngineError) as caught:
        OnnxRuntimeSession(encoder, SessionOptions(device="cuda"))
    assert str(caught.value).startswith("onnxruntime cannot start cuda: ")
    assert message in str(caught.value)


def test_tensorrt_is_refused_where_it_would_compute_in_tf32(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capability = "8.7"
    monkeypatch.setattr(
        driver, "probe", lambda: driver.Driver("12.6", (driver.CudaDevice("GPU", 8192, capability),))
    )
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: list(providers.PROVIDER_OF.values()))
    monkeypatch.setattr(providers, "_built_for_cuda", lambda: None)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(EngineError, match=r"TensorFloat-32.*NVIDIA_TF32_OVERRIDE=0.*--runtime tensorrt"):
        OnnxRuntimeSession(encoder, SessionOptions(device="tensorrt"))
    assert "NVIDIA_TF32_OVERRIDE=0" in (providers.device_problems()["tensorrt"] or "")
    # The CUDA provider has an option of its own.
    providers.check_device("cuda")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    providers.check_device("tensorrt")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    capability = "7.2"
    providers.check_device("tensorrt")


def test_usable_devices_start_a_graph_on_each() -> None:
    answers = providers.device_problems()
    assert list(answers) == ["cpu", "cuda", "tensorrt"]
    assert answers["cpu"] is None
    assert all(answer is None or "\n" not in answer for answer in answers.values())
    session = providers.start(providers.SMALLEST_GRAPH, providers.ort.SessionOptions(), "cpu")
    np.testing.assert_array_equal(session.run(None, {"a": np.ones(1, np.float32)})[0], [-1])


def test_cuda_is_taken_unasked_only_where_it_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for build, device in (("cpu", "cpu"), ("cuda", "cuda")):
        monkeypatch.setattr(providers.ort, "get_available_providers", lambda build=build: [PROVIDER_OF[build]])
        assert providers.default_device(nvidia_desktop(tmp_path)) == device


def test_providers_of_each_device(tmp_path: Path) -> None:
    assert [name for name, _ in providers.providers("cpu")] == ["CPUExecutionProvider"]
    (name, options), (beside, _) = providers.providers("cuda")
    assert (name, beside) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {"device_id": 0, "use_tf32": 0}
    found = providers.providers("tensorrt", tmp_path / "plans")
    names = [name for name, _ in found]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    plans = {"trt_engine_cache_path": str(tmp_path / "plans"), "trt_timing_cache_path": str(tmp_path / "plans")}
    kept = {"trt_engine_cache_enable": 1, "trt_timing_cache_enable": 1, **plans}
    assert found[0][1] == {"device_id": 0, **kept}
    assert found[1][1] == {"device_id": 0, "use_tf32": 0}
    assert not any("cache" in name for name in providers.providers("tensorrt")[0][1])
