"""What onnxruntime does beyond the contract: devices, tensors that stay there, replayed runs, its errors."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge import driver
from sam_edge.errors import BundleError, EngineError, InputError
from sam_edge.runtimes import onnxruntime as module
from sam_edge.runtimes import onnxruntime_errors as errors
from sam_edge.runtimes import onnxruntime_providers as providers
from sam_edge.runtimes.onnxruntime import OnnxRuntime
from sam_edge.runtimes.onnxruntime_binding import MAX_SLOTS, DeviceArray, Recordings
from tests.machines import FakeDriver, jetson, nvidia_desktop

LENDS = hasattr(providers.ort.OrtValue, "__dlpack__")


def save(
    folder: Path, name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 20
) -> Path:
    body = helper.make_graph(nodes, name, inputs, outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """embedding = -image"""
    node = helper.make_node("Neg", ["image"], ["embedding"])
    return save(tmp_path, "encoder", [node], [tensor("image", 1, "w")], [tensor("embedding", 1, "w")])


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """logits = embedding + point, iou = embedding * point"""
    nodes = [
        helper.make_node("Add", ["embedding", "point"], ["logits"]),
        helper.make_node("Mul", ["embedding", "point"], ["iou"]),
    ]
    inputs = [tensor("embedding", 1, "w"), tensor("point", 1, 1)]
    return save(tmp_path, "decoder", nodes, inputs, [tensor("logits", 1, "w"), tensor("iou", 1, "w")])


def image(value: float, width: int = 3) -> dict[str, np.ndarray]:
    return {"image": np.full((1, width), value, np.float32)}


def slots(engine: OnnxRuntime) -> int:
    assert engine._bound is not None
    return sum(len(group) for group in engine._bound._slots.values())


@pytest.mark.parametrize("replay", [False, True])
def test_the_embedding_stays_and_the_answer_is_numpy(encoder: Path, decoder: Path, replay: bool) -> None:
    first = OnnxRuntime(encoder, device="cpu", resident=True, replay=replay)
    second = OnnxRuntime(decoder, device="cpu", resident=True, replay=replay)
    embedding = first.run(image(2))["embedding"]
    assert isinstance(embedding, DeviceArray)
    address = embedding.value.data_ptr()
    answer = second.run({"embedding": embedding, "point": np.array([[5]], np.float32)})
    assert type(answer["logits"]) is np.ndarray
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -10))
    assert embedding.value.data_ptr() == address


def test_a_resident_feed_is_not_copied(encoder: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = OnnxRuntime(encoder, device="cpu", resident=True).run(image(2))["embedding"]
    second = OnnxRuntime(decoder, device="cpu", resident=True)

    def copied(self: DeviceArray, *_: object, **__: object) -> None:
        raise AssertionError("the embedding was copied to the host")

    monkeypatch.setattr(DeviceArray, "__array__", copied)
    answer = second.run({"embedding": embedding, "point": np.array([[5]], np.float32)})
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))


def test_a_plain_engine_takes_a_resident_feed_by_copy(encoder: Path, decoder: Path) -> None:
    embedding = OnnxRuntime(encoder, device="cpu", resident=True).run(image(2))["embedding"]
    answer = OnnxRuntime(decoder, device="cpu").run(
        {"embedding": embedding, "point": np.ones((1, 1), np.float32)}
    )
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -2))


def test_device_tensors_speak_numpy_and_dlpack(encoder: Path) -> None:
    embedding: Any = OnnxRuntime(encoder, device="cpu", resident=True).run(image(2))["embedding"]
    assert (embedding.shape, embedding.dtype) == ((1, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(embedding), np.full((1, 3), -2))
    assert np.asarray(embedding, np.float64).dtype == np.float64
    if LENDS:
        np.testing.assert_array_equal(np.from_dlpack(embedding), np.full((1, 3), -2))
    else:
        with pytest.raises(BufferError, match="copy with numpy"):
            embedding.__dlpack__()
    with pytest.raises(ValueError, match="copy"):
        embedding.__array__(copy=False)


def test_runs_are_replayed_at_the_same_addresses(encoder: Path, decoder: Path) -> None:
    first = OnnxRuntime(encoder, device="cpu", resident=True, replay=True)
    second = OnnxRuntime(decoder, device="cpu", resident=True, replay=True)
    addresses = set()
    for value in range(20):
        embedding: Any = first.run(image(value))["embedding"]
        addresses.add(embedding.value.data_ptr())
        answer = second.run({"embedding": embedding, "point": np.ones((1, 1), np.float32)})
        np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 1 - value))
    # While one embedding is replaced by the next, both are alive.
    assert len(addresses) == slots(first) == slots(second) == 2


def test_what_somebody_holds_is_never_overwritten(encoder: Path) -> None:
    engine = OnnxRuntime(encoder, device="cpu", resident=True, replay=True)
    held = [engine.run(image(value))["embedding"] for value in range(3 * MAX_SLOTS)]
    assert slots(engine) == MAX_SLOTS
    for value, embedding in enumerate(held):
        np.testing.assert_array_equal(embedding, np.full((1, 3), -value))
    del held, embedding
    gc.collect()
    again: Any = engine.run(image(7))["embedding"]
    assert again.fixed


@pytest.mark.skipif(not LENDS, reason="this onnxruntime is older than its DLPack")
def test_memory_lent_by_dlpack_is_never_overwritten(encoder: Path) -> None:
    engine = OnnxRuntime(encoder, device="cpu", resident=True, replay=True)
    seen = [np.from_dlpack(engine.run(image(value))["embedding"]) for value in range(2 * MAX_SLOTS)]
    gc.collect()
    for value, array in enumerate(seen):
        np.testing.assert_array_equal(array, np.full((1, 3), -value))


def test_many_shapes_do_not_pile_up(encoder: Path) -> None:
    engine = OnnxRuntime(encoder, device="cpu", resident=True, replay=True)
    for width in range(1, 5 * MAX_SLOTS):
        np.testing.assert_array_equal(engine.run(image(1, width))["embedding"], np.full((1, width), -1))
    assert slots(engine) == MAX_SLOTS
    assert engine._bound is not None
    assert len(engine._bound._slots) == MAX_SLOTS


def test_encoder_and_decoder_threads_meet_on_replayed_runs(encoder: Path, decoder: Path) -> None:
    first = OnnxRuntime(encoder, device="cpu", resident=True, replay=True)
    second = OnnxRuntime(decoder, device="cpu", resident=True, replay=True)

    def both(value: int) -> Any:
        embedding = first.run(image(value, 1000))["embedding"]
        return second.run({"embedding": embedding, "point": np.ones((1, 1), np.float32)})["logits"]

    with ThreadPoolExecutor(4) as pool:
        for value, logits in enumerate(pool.map(both, range(200))):
            np.testing.assert_array_equal(logits, np.full((1, 1000), 1 - value))


def test_a_recording_waits_for_runs_to_end() -> None:
    recordings = Recordings()

    def record() -> None:
        with recordings.recording():
            pass

    thread = Thread(target=record)
    with recordings.running(), recordings.running():
        thread.start()
        thread.join(timeout=0.05)
        assert thread.is_alive()
    thread.join()


def test_float16_graphs_take_and_give_float32(tmp_path: Path) -> None:
    half = TensorProto.FLOAT16
    node = helper.make_node("Add", ["a", "a"], ["logits"])
    path = save(tmp_path, "half", [node], [tensor("a", 2, kind=half)], [tensor("logits", 2, kind=half)])
    for options in ({}, {"resident": True}, {"replay": True}):
        engine = OnnxRuntime(path, device="cpu", **options)
        assert engine.inputs[0].dtype == "float16"
        answer = engine.run({"a": np.array([1, 2], np.float32)})["logits"]
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, [2, 4])


def test_a_resident_float16_tensor_stays_float16(tmp_path: Path) -> None:
    half = TensorProto.FLOAT16
    node = helper.make_node("Add", ["a", "a"], ["b"])
    path = save(tmp_path, "half", [node], [tensor("a", 2, kind=half)], [tensor("b", 2, kind=half)])
    once = OnnxRuntime(path, device="cpu", resident=True).run({"a": np.array([1, 2], np.float32)})["b"]
    assert once.dtype == np.float16
    # A float32 graph takes it all the same.
    node = helper.make_node("Neg", ["b"], ["logits"])
    full = save(tmp_path, "full", [node], [tensor("b", 2)], [tensor("logits", 2)])
    np.testing.assert_array_equal(
        OnnxRuntime(full, device="cpu", resident=True).run({"b": once})["logits"], [-2, -4]
    )


@pytest.mark.parametrize(
    ("name", "cores", "threads", "expected"),
    [("encoder", 6, None, 6), ("decoder", 6, None, 4), ("decoder", 2, None, 2), ("decoder", 6, 5, 5)],
)
def test_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cores: int,
    threads: int | None,
    expected: int,
) -> None:
    path = save(tmp_path, name, [helper.make_node("Neg", ["a"], ["b"])], [tensor("a", 1)], [tensor("b", 1)])
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    engine = OnnxRuntime(path, threads, "cpu")
    assert engine._session is not None
    options = engine._session.get_session_options()
    assert options.intra_op_num_threads == expected
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(("node", "op"), [("odd one", "Frobnicate"), ("", "Frobnicate")])
def test_an_operator_that_is_lacking_is_named_with_its_node(tmp_path: Path, node: str, op: str) -> None:
    path = save(
        tmp_path, "odd", [helper.make_node(op, ["a"], ["b"], name=node)], [tensor("a", 1)], [tensor("b", 1)]
    )
    with pytest.raises(BundleError, match=rf"has no {op} for node '{node}' of .*odd\.onnx") as caught:
        OnnxRuntime(path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_type_without_a_kernel_is_named_with_its_node(tmp_path: Path) -> None:
    kinds = {"kind": TensorProto.INT8}
    node = helper.make_node("GridSample", ["a", "grid"], ["b"], name="sampling")
    inputs = [tensor("a", 1, 1, 2, 2, **kinds), tensor("grid", 1, 2, 2, 2)]
    path = save(tmp_path, "typed", [node], inputs, [tensor("b", 1, 1, 2, 2, **kinds)])
    with pytest.raises(BundleError, match="has no GridSample for node 'sampling'"):
        OnnxRuntime(path, device="cpu")


def test_an_opset_of_the_future(tmp_path: Path) -> None:
    node = helper.make_node("Neg", ["a"], ["b"])
    path = save(tmp_path, "future", [node], [tensor("a", 1)], [tensor("b", 1)], opset=99)
    with pytest.raises(BundleError, match=r"has opset 99, onnxruntime .* knows \d+ at most"):
        OnnxRuntime(path, device="cpu")


@pytest.mark.parametrize("replay", [False, True])
def test_too_little_memory_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], replay: bool) -> None:
    node = helper.make_node("Expand", ["a", "shape"], ["b"], name="huge")
    inputs = [tensor("a", 1), tensor("shape", 2, kind=TensorProto.INT64)]
    path = save(tmp_path, "huge", [node], inputs, [tensor("b", "x", "y")])
    feeds: Any = {"a": np.zeros(1, np.float32), "shape": np.array([1 << 20, 1 << 24])}
    with pytest.raises(EngineError, match=r"out of memory to run the graph: more was .* GB are free"):
        OnnxRuntime(path, device="cpu", replay=replay).run(feeds)
    assert capfd.readouterr() == ("", "")


def test_errors_of_cuda_are_engine_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "free_memory_mb", lambda: 300)
    asked = Exception(
        "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 4294967296"
    )
    found = errors.run_error(asked, "cuda")
    assert isinstance(found, EngineError)
    assert "out of device memory to run the graph: 4.0 GB were asked for, 300 MB are free" in str(found)
    full = errors.load_error(
        Exception("CUDA failure 2: out of memory ; GPU=0 ; hostname=x"), Path("e.onnx"), "cuda"
    )
    assert isinstance(full, EngineError)
    assert "to load e.onnx: more was asked for than there is, 300 MB are free" in str(full)
    text = "CUDNN failure\nCUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=x ; file=y"
    failed = errors.run_error(Exception(text), "cuda")
    assert str(failed) == "CUDA fails while the graph runs: unspecified launch failure; see sam-edge doctor"
    assert isinstance(errors.run_error(Exception("Got invalid dimensions"), "cuda"), InputError)


def no_driver(name: str) -> None:
    raise OSError(name)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_no_device_is_said_and_never_replaced_by_the_cpu(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(no_driver))
    with pytest.raises(EngineError, match="no NVIDIA GPU here"):
        OnnxRuntime(encoder, device=device)


def test_a_build_without_cuda_says_what_to_install(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(FakeDriver()))
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"without cuda: pip uninstall onnxruntime.*sam-edge\[gpu\]"):
        OnnxRuntime(encoder, device="cuda")
    monkeypatch.setattr(providers, "this_machine", lambda: jetson(tmp_path / "jetson"))
    with pytest.raises(EngineError, match="NVIDIA makes for this JetPack"):
        OnnxRuntime(encoder, device="cuda")


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
        OnnxRuntime(encoder, device="cuda")
    monkeypatch.setattr(providers, "this_machine", lambda: jetson(tmp_path / "jetson"))
    with pytest.raises(EngineError, match=r"speaks 12\.2 at most: install .* NVIDIA makes for this JetPack"):
        OnnxRuntime(encoder, device="cuda")


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            "libcudnn.so.9: cannot open shared object file: No such file",
            "libcudnn.so.9 is not found; pip install",
        ),
        ("libcublasLt.so.13: cannot open shared object file", "libcublasLt.so.13 is not found; pip install"),
        (
            "libnvinfer.so.10: cannot open shared object file",
            "libnvinfer.so.10 is not found; install that version",
        ),
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
        OnnxRuntime(encoder, device="cuda")
    assert str(caught.value).startswith("onnxruntime cannot start cuda: ")
    assert message in str(caught.value)


def test_a_library_that_is_missing_counts_more_than_what_onnxruntime_says(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("Please install TensorRT libraries as mentioned in the GPU requirements page")

    def cannot(path: str) -> None:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(providers.ctypes, "CDLL", cannot)
    monkeypatch.setattr(providers.ort, "InferenceSession", fails)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    with pytest.raises(EngineError, match=r"cannot start tensorrt: libnvinfer\.so\.10 is not found"):
        OnnxRuntime(encoder, device="tensorrt")


def test_usable_devices_start_a_graph_on_each() -> None:
    answers = providers.usable_devices()
    assert list(answers) == ["cpu", "cuda", "tensorrt"]
    assert answers["cpu"] is None
    assert all(answer is None or "\n" not in answer for answer in answers.values())
    session = providers.start(providers.SMALLEST_GRAPH, providers.ort.SessionOptions(), "cpu", replay=False)
    np.testing.assert_array_equal(session.run(None, {"a": np.ones(1, np.float32)})[0], [-1])


def test_cuda_is_taken_unasked_only_where_it_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = nvidia_desktop(tmp_path)
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert providers.default_device(desktop) == "cpu"
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: list(providers.PROVIDER_OF.values()))
    assert providers.default_device(desktop) == "cuda"


def test_providers_of_each_device(tmp_path: Path) -> None:
    assert [name for name, _ in providers.providers("cpu", replay=False)] == ["CPUExecutionProvider"]
    (name, options), _ = providers.providers("cuda", replay=True)
    assert (name, options["enable_cuda_graph"]) == ("CUDAExecutionProvider", 1)
    found = providers.providers("tensorrt", replay=False, plans=tmp_path / "plans")
    names = [name for name, _ in found]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert found[0][1]["trt_engine_cache_path"] == str(tmp_path / "plans")
    assert (tmp_path / "plans").stat().st_mode & 0o77 == 0


def test_graphs_of_equal_names_have_plans_of_their_own(encoder: Path, decoder: Path) -> None:
    before = providers.plan_folder(encoder)
    assert before.parent.name == "onnxruntime"
    encoder.write_bytes(decoder.read_bytes())
    assert providers.plan_folder(encoder) != before


def test_a_graph_that_cannot_be_recorded_runs_all_the_same(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA where shapes are computed on the CPU: recording is refused when the session is made."""
    real = module._open
    tried = []

    def refuses(graph: Path, threads: int | None, device: str, *, replay: bool) -> Any:
        tried.append(replay)
        if replay:
            raise BundleError("cannot be recorded")
        return real(graph, threads, "cpu", replay=False)

    monkeypatch.setattr(module, "_open", refuses)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    engine = OnnxRuntime(encoder, device="cuda")
    assert (tried, engine.replays) == ([True, False], False)
    with pytest.raises(BundleError):
        OnnxRuntime(encoder, device="cuda", replay=True)


def test_onnxruntime_does_not_print(encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    OnnxRuntime(encoder, device="cpu").run(image(1))
    with pytest.raises(BundleError):
        OnnxRuntime(Path(sys.executable), device="cpu")
    assert capfd.readouterr() == ("", "")
