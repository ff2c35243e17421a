"""What OpenVINO does beyond the contract: devices, precision, shapes, and code that is kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import BundleError, EngineError, InputError
from sam_edge.sessions.choice import find_runtime

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'sam-edge[openvino]'")

from sam_edge.runtimes.openvino.library import ov
from sam_edge.runtimes.openvino.model import Compiler, computes_in_half, device_problems, read_model, settings
from sam_edge.runtimes.openvino.session import MAX_SHAPES, OpenVinoSession
from sam_edge.sessions.session import SessionOptions


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/openvino"


def product(folder: Path, weight: np.ndarray, kind: int = TensorProto.FLOAT) -> Path:
    """y = x @ weight, for x (any, 64) float32, computed in `kind`."""
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=kind),
        helper.make_node("MatMul", ["cast", "weight"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    body = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 64])],
        [onnx.numpy_helper.from_array(weight.astype(dtype), "weight")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "product.onnx")
    return folder / "product.onnx"


@pytest.fixture
def weight() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 64), dtype=np.float32)


def test_a_float32_graph_is_computed_in_float32(tmp_path: Path, weight: np.ndarray) -> None:
    # Left to itself OpenVINO takes bfloat16 where the processor has it, which errs by 1e-2 here.
    given = rows(300)
    got = OpenVinoSession(product(tmp_path, weight)).run({"x": given})["y"]
    exact = given.astype(np.float64) @ weight.astype(np.float64)
    np.testing.assert_allclose(got, exact, atol=1e-4)
    model = read_model(tmp_path / "product.onnx")
    compiled = Compiler("CPU", settings(model, "CPU", None), None, "").compile(model)
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32


def test_a_half_graph_keeps_what_its_operations_say(tmp_path: Path, weight: np.ndarray) -> None:
    model = read_model(product(tmp_path, weight, TensorProto.FLOAT16))
    assert computes_in_half(model)
    assert settings(model, "CPU", None)["INFERENCE_PRECISION_HINT"] == "dynamic"
    given = rows(8)
    got = OpenVinoSession(tmp_path / "product.onnx").run({"x": given})["y"]
    np.testing.assert_allclose(got, given @ weight, atol=0.05)


def test_weights_kept_in_half_are_no_half_graph() -> None:
    bundle = find_bundle("nano")
    assert not computes_in_half(read_model(bundle.graph("encoder")))


def test_threads_are_the_cores_it_may_use(tmp_path: Path, weight: np.ndarray) -> None:
    model = read_model(product(tmp_path, weight))
    compiled = Compiler("CPU", settings(model, "CPU", 1), None, "").compile(model)
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_a_device_that_is_not_here_names_those_that_are(tmp_path: Path, weight: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"no GPU\.7 .*openvino:CPU"):
        OpenVinoSession(product(tmp_path, weight), SessionOptions(device="GPU.7"))
    assert set(device_problems()) == {"CPU", "GPU", "NPU"}
    assert device_problems()["CPU"] is None


@pytest.mark.parametrize("device", ["openvino:CPU", "openvino:AUTO"])
def test_devices_are_chosen_by_name(tmp_path: Path, weight: np.ndarray, device: str) -> None:
    runtime = find_runtime(device.lower())
    assert runtime.name == device
    engine = runtime(product(tmp_path, weight), SessionOptions(threads=1))
    for count in (3, 4, 4, 4):
        np.testing.assert_allclose(engine.run({"x": rows(count)})["y"], rows(count) @ weight, atol=1e-4)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled since, by variant."""
    seen: list[str] = []
    real = Compiler.compile

    def compile_and_note(self: Compiler, model: ov.Model, variant: str = "") -> ov.CompiledModel:
        seen.append(variant)
        return real(self, model, variant)

    monkeypatch.setattr(Compiler, "compile", compile_and_note)
    return seen


def test_a_stream_of_one_size_compiles_at_its_first_frame_alone(
    tmp_path: Path, weight: np.ndarray, compiled: list[str]
) -> None:
    engine = OpenVinoSession(product(tmp_path, weight))
    for _ in range(5):
        np.testing.assert_allclose(engine.run({"x": rows(4)})["y"], rows(4) @ weight, atol=1e-4)
    assert len(compiled) == 1


def test_many_sizes_share_one_program(tmp_path: Path, weight: np.ndarray, compiled: list[str]) -> None:
    engine = OpenVinoSession(product(tmp_path, weight), SessionOptions(device="CPU"))
    for count in [*range(1, 30), *range(1, 30)]:
        np.testing.assert_allclose(engine.run({"x": rows(count)})["y"], rows(count) @ weight, atol=1e-4)
    assert len(compiled) == MAX_SHAPES + 1


def test_the_second_start_compiles_nothing(
    tmp_path: Path, weight: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = product(tmp_path, weight)
    first = OpenVinoSession(graph).run({"x": rows(5)})["y"]
    (blob,) = cache.glob("*.blob")
    before = blob.read_bytes()
    monkeypatch.setattr(Compiler, "_compile", _refuse)
    np.testing.assert_array_equal(OpenVinoSession(graph).run({"x": rows(5)})["y"], first)
    assert blob.read_bytes() == before


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "other"])
def test_a_damaged_cache_is_thrown_away_and_made_anew(
    tmp_path: Path, weight: np.ndarray, cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = product(tmp_path, weight)
    OpenVinoSession(graph).run({"x": rows(5)})
    (blob,) = cache.glob("*.blob")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 255
    contents: dict[str, bytes] = {
        "flipped": bytes(data),
        "truncated": bytes(data[:99]),
        "empty": b"",
        "other": b"not code at all" * 99,
    }
    blob.write_bytes(contents[damage])
    got = OpenVinoSession(graph).run({"x": rows(5)})["y"]
    np.testing.assert_allclose(got, rows(5) @ weight, atol=1e-4)
    # Its size is not always the same: what counts is that the next one need not compile.
    monkeypatch.setattr(Compiler, "_compile", _refuse)
    np.testing.assert_array_equal(OpenVinoSession(graph).run({"x": rows(5)})["y"], got)


def test_sound_code_that_the_device_refuses_is_compiled_again(
    tmp_path: Path, weight: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = product(tmp_path, weight)
    OpenVinoSession(graph).run({"x": rows(5)})
    foreign = b"code of another driver"
    (blob,) = cache.glob("*.blob")
    blob.write_bytes(hashlib.sha256(foreign).digest() + foreign)
    got = OpenVinoSession(graph).run({"x": rows(5)})["y"]
    np.testing.assert_allclose(got, rows(5) @ weight, atol=1e-4)
    monkeypatch.setattr(Compiler, "_compile", _refuse)
    np.testing.assert_array_equal(OpenVinoSession(graph).run({"x": rows(5)})["y"], got)


def test_another_graph_under_the_same_name_is_another_key(tmp_path: Path, weight: np.ndarray) -> None:
    OpenVinoSession(product(tmp_path, weight)).run({"x": rows(5)})
    got = OpenVinoSession(product(tmp_path, 2 * weight)).run({"x": rows(5)})["y"]
    np.testing.assert_allclose(got, rows(5) @ (2 * weight), atol=1e-4)


def test_nothing_is_kept_where_nobody_wants_it(tmp_path: Path, weight: np.ndarray, cache: Path) -> None:
    OpenVinoSession(product(tmp_path, weight), cached=False).run({"x": rows(5)})
    assert not cache.exists()


def test_an_unknown_operation_is_named_with_its_node(tmp_path: Path) -> None:
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "ab")
    node = helper.make_node("Frobnicate", ["a"], ["b"], domain="com.example")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(helper.make_graph([node], "odd", [a], [b]), opset_imports=opsets, ir_version=10)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match=r"com\.example\.Frobnicate \(node b\)"):
        OpenVinoSession(tmp_path / "odd.onnx")


def test_inputs_that_cannot_be_written_are_read_too(tmp_path: Path, weight: np.ndarray) -> None:
    engine = OpenVinoSession(product(tmp_path, weight), SessionOptions(device="CPU"), cached=False)
    given = rows(5)
    # OpenVINO takes no memory that it could not write.
    given.flags.writeable = False
    np.testing.assert_allclose(engine.run({"x": given})["y"], given @ weight, atol=1e-4)


def test_closing_twice_is_closing_once(tmp_path: Path, weight: np.ndarray) -> None:
    engine = OpenVinoSession(product(tmp_path, weight))
    engine.close()
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run({"x": rows(5)})


def test_threads_meet_new_shapes_at_once(tmp_path: Path, weight: np.ndarray) -> None:
    engine = OpenVinoSession(product(tmp_path, weight))

    def right(count: int) -> bool:
        return bool(np.allclose(engine.run({"x": rows(count)})["y"], rows(count) @ weight, atol=1e-4))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, [1, 2, 3, 4, 5, 6] * 8 + [7] * 16))


def test_the_shipped_model_says_what_it_says_on_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    bundle = find_bundle("nano")
    image = np.random.default_rng(0).standard_normal((1, 3, 96, 128), dtype=np.float32)
    (labels,) = (spec for spec in bundle.manifest.graphs["decoder"].inputs if spec.name == "point_labels")
    slots = int(labels.shape[1])
    answers = []
    for name in ("onnxruntime:cpu", "openvino:CPU"):
        loader = find_runtime(name)
        features = loader(bundle.graph("encoder"), SessionOptions(threads=1)).run({"image": image})
        prompt = {
            "point_coords": np.full((1, slots, 2), 40, np.float32),
            "point_labels": np.where(np.arange(slots) == 0, 1, -2).astype(np.float32)[None],
            "mask_logits": np.zeros((1, 1, 24, 32), np.float32),
            "has_mask": np.zeros(1, np.float32),
        }
        decoder = loader(bundle.graph("decoder"), SessionOptions(threads=1))
        for _ in range(3):
            answer = decoder.run({**features, **prompt})
        answers.append(answer)
    np.testing.assert_allclose(answers[0]["logits"], answers[1]["logits"], atol=2e-3)
    np.testing.assert_allclose(answers[0]["iou"], answers[1]["iou"], atol=1e-4)


def test_openvino_does_not_report_to_its_maker() -> None:
    code = (
        "import sys, threading, sam_edge.runtimes.openvino.session\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _refuse(compiler: Compiler, model: ov.Model) -> ov.CompiledModel:
    raise AssertionError("compiled again")
