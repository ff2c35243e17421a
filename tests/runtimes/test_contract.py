"""What every runtime keeps, on graphs small enough to know the answer."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import BundleError, EngineError, InputError, MissingExtraError, SamEdgeError
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import Layout, encoder_input, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.sessions.choice import backends, find_runtime
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.tensors import TensorSpec
from tests.imaging.layouts import laid_out
from tests.runtimes.tensorrt.graphs import write_encoder

RESIDENT = "onnxruntime resident"
"""As on a GPU: tensors stay on the device."""
IN_PLACE = SessionOptions(device="cpu", host_outputs=frozenset())
"""Nothing has to be a numpy array."""


@pytest.fixture(params=[*(name for name in backends() if name != "null"), RESIDENT])
def loader(request: pytest.FixtureRequest) -> SessionLoader:
    """Opens graphs with one backend. `null`, which computes nothing, has tests of its own."""
    name = request.param
    try:
        runtime = find_runtime("onnxruntime:cpu" if name == RESIDENT else name)
    except (MissingExtraError, EngineError) as error:
        # Every backend keeps the contract where its library can be had; the message names the extra.
        pytest.skip(str(error))
    if name != RESIDENT:
        return runtime
    from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession

    def open_variant(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return OnnxRuntimeSession(graph, replace(IN_PLACE, threads=options.threads), resident=True)

    return open_variant


@pytest.fixture(params=["width", 5], ids=["free", "fixed"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """total = a + b, doubled = 2 a, for a and b of any width, and of width 5 alone."""
    return sums(tmp_path, request.param)


@pytest.fixture
def free_graph(tmp_path: Path) -> Path:
    """The same for any width."""
    return sums(tmp_path, "width")


def sums(folder: Path, width: int | str) -> Path:
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Mul", ["a", "two"], ["doubled"]),
    ]
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, width])
        for name in ("a", "b", "total", "doubled")
    }
    body = helper.make_graph(
        nodes, "sums", [tensors["a"], tensors["b"]], [tensors["total"], tensors["doubled"]], [two]
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "sums.onnx")
    return folder / "sums.onnx"


def feeds(width: int = 5) -> dict[str, np.ndarray]:
    a = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    return {"a": a, "b": a + 1}


def test_names_shapes_and_types_are_the_graphs(loader: SessionLoader, tmp_path: Path) -> None:
    engine = loader(sums(tmp_path, 5))
    assert engine.inputs == (TensorSpec("a", (2, 5)), TensorSpec("b", (2, 5)))
    assert engine.outputs == (TensorSpec("total", (2, 5)), TensorSpec("doubled", (2, 5)))


def test_free_dimensions_have_names(loader: SessionLoader, free_graph: Path) -> None:
    # Not every engine remembers which names they have in the graph.
    shapes = [spec.shape for spec in loader(free_graph).inputs]
    assert [(rows, type(columns)) for rows, columns in shapes] == [(2, str), (2, str)]


def test_computes_every_output(loader: SessionLoader, graph: Path) -> None:
    given = feeds(5)
    got = loader(graph, SessionOptions(threads=1)).run(given)
    np.testing.assert_allclose(got["total"], given["a"] + given["b"])
    np.testing.assert_allclose(got["doubled"], 2 * given["a"])
    assert got["total"].dtype == np.float32


def test_results_outlive_the_next_run_and_the_engine(loader: SessionLoader, graph: Path) -> None:
    engine = loader(graph)
    first = engine.run(feeds())["total"]
    kept = np.array(first)
    second = engine.run({name: value * 7 for name, value in feeds().items()})["total"]
    np.testing.assert_array_equal(second, 7 * kept)
    engine.close()
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, 7 * kept)


def test_answers_are_the_next_questions(loader: SessionLoader, graph: Path) -> None:
    engine = loader(graph)
    given = feeds()
    first = engine.run(given)
    second = engine.run({"a": first["total"], "b": first["doubled"]})
    np.testing.assert_array_equal(second["total"], 3 * given["a"] + given["b"])


def test_feeds_stay_as_they_are(loader: SessionLoader, graph: Path) -> None:
    given = feeds()
    for value in given.values():
        value.flags.writeable = False
    loader(graph).run(given)
    np.testing.assert_array_equal(given["a"], feeds()["a"])
    np.testing.assert_array_equal(given["b"], feeds()["b"])


def test_feeds_may_lie_anyhow_in_memory(loader: SessionLoader, graph: Path) -> None:
    given = feeds()
    scattered = {name: np.repeat(value, 2, axis=1)[:, ::2] for name, value in given.items()}
    scattered["b"] = np.asfortranarray(scattered["b"])
    np.testing.assert_array_equal(loader(graph).run(scattered)["total"], given["a"] + given["b"])


def test_threads_may_run_it_at_once(loader: SessionLoader, graph: Path) -> None:
    engine = loader(graph)

    def total(number: int) -> np.ndarray:
        return np.asarray(engine.run({name: value + number for name, value in feeds().items()})["total"])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(total, range(64)))
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, sum(feeds().values()) + 2 * number)


def test_the_free_dimension_may_change_between_runs(loader: SessionLoader, free_graph: Path) -> None:
    engine = loader(free_graph)
    for width in (2, 9, 9, 9, 2, 2, 9):
        np.testing.assert_array_equal(engine.run(feeds(width))["total"], sum(feeds(width).values()))


@pytest.mark.parametrize("shape", [(3, 5), (2,), (1, 2, 5)])
def test_wrong_shape_names_the_input(loader: SessionLoader, graph: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\ba\b"):
        loader(graph).run({"a": np.zeros(shape, np.float32), "b": np.zeros(shape, np.float32)})


def test_shapes_that_do_not_meet_are_refused(loader: SessionLoader, free_graph: Path) -> None:
    engine = loader(free_graph)
    uneven = {"a": np.zeros((2, 4), np.float32), "b": np.zeros((2, 3), np.float32)}
    for _ in range(3):
        with pytest.raises(SamEdgeError):
            engine.run(uneven)
    np.testing.assert_array_equal(engine.run(feeds())["total"], sum(feeds().values()))


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8])
def test_wrong_type_names_the_input(loader: SessionLoader, graph: Path, dtype: type) -> None:
    with pytest.raises(InputError, match=r"\ba\b"):
        loader(graph).run({name: value.astype(dtype) for name, value in feeds().items()})


@pytest.mark.parametrize("names", ["a", "ac"])
def test_missing_input_is_named(loader: SessionLoader, graph: Path, names: str) -> None:
    with pytest.raises(InputError, match=r"\b[bc]\b"):
        loader(graph).run(dict.fromkeys(names, np.zeros((2, 5), np.float32)))


def test_unknown_input_is_named(loader: SessionLoader, graph: Path) -> None:
    with pytest.raises(InputError, match=r"no input c\b"):
        loader(graph).run({**feeds(), "c": feeds()["a"]})


def test_float16_is_not_float32(loader: SessionLoader, graph: Path) -> None:
    with pytest.raises(InputError, match=r"\ba is float16\b"):
        loader(graph).run({name: value.astype(np.float16) for name, value in feeds().items()})


def test_a_wrapped_session_is_the_session(loader: SessionLoader, graph: Path, tmp_path: Path) -> None:
    session = loader(graph)
    wrapped = Wrapper(session)
    assert (wrapped.inputs, wrapped.outputs) == (session.inputs, session.outputs)
    np.testing.assert_array_equal(wrapped.run(feeds())["total"], session.run(feeds())["total"])
    encoder = loader(write_encoder(tmp_path))
    assert hasattr(Wrapper(encoder), "run_frame") == hasattr(encoder, "run_frame")
    wrapped.close()
    with pytest.raises(InputError, match="closed"):
        session.run(feeds())


def test_another_process_is_told_to_open_its_own(
    loader: SessionLoader, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = loader(graph)
    session.run(feeds())
    monkeypatch.setattr(os, "getpid", lambda: -5)
    with pytest.raises(EngineError, match="in each process"):
        session.run(feeds())


def test_a_closed_engine_says_so(loader: SessionLoader, graph: Path) -> None:
    engine = loader(graph)
    engine.run(feeds())
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(feeds())


def test_closing_again_does_nothing(loader: SessionLoader, graph: Path) -> None:
    used, unused = loader(graph), loader(graph)
    used.run(feeds())
    for engine in (used, unused, used, unused):
        engine.close()
    with pytest.raises(InputError, match="closed"):
        used.run(feeds())


def test_damaged_graph_is_a_bundle_error_naming_the_file(loader: SessionLoader, graph: Path) -> None:
    data = graph.read_bytes()
    graph.write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match=r"sums\.onnx"):
        loader(graph)


def test_missing_graph_is_a_bundle_error_naming_the_file(loader: SessionLoader, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.onnx"):
        loader(tmp_path / "none.onnx")


def test_unknown_operation_is_named(loader: SessionLoader, tmp_path: Path) -> None:
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 5]) for name in "ab")
    node = helper.make_node("Frobnicate", ["a"], ["b"], name="b", domain="com.example")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(helper.make_graph([node], "odd", [a], [b]), opset_imports=opsets, ir_version=10)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match="Frobnicate"):
        loader(tmp_path / "odd.onnx")


def test_no_graph_is_a_bundle_error_naming_the_file(loader: SessionLoader, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"this is no graph")
    with pytest.raises(BundleError, match=r"bad\.onnx"):
        loader(tmp_path / "bad.onnx")


def test_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(InputError, match="onnxruntime"):
        find_runtime("tpu")


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.sessions.choice.find_spec", lambda library: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sam-edge\[cpu\]'"):
        find_runtime()


def test_the_callers_arithmetic_stays_as_it_was(loader: SessionLoader, graph: Path) -> None:
    tiny = np.float32(1e-40)
    loader(graph, SessionOptions(threads=1)).run(feeds())
    # An engine that flushes denormals to zero would do so in the calling thread too.
    assert tiny * np.float32(0.5) > 0


@pytest.mark.parametrize("layout", get_args(Layout))
def test_frames_come_in_any_layout(loader: SessionLoader, tmp_path: Path, layout: Layout) -> None:
    engine = loader(write_encoder(tmp_path))
    if not hasattr(engine, "run_frame"):
        pytest.skip("this session does not prepare frames itself: Segmenter does")
    preprocess = Preprocess((120.0, 110.0, 100.0), (50.0, 60.0, 70.0), "antialias")
    frame, _ = laid_out(np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8), layout)
    view = InputSize(long_side=48, multiple=16, square=False).view((64, 40))
    expected = 2 * encoder_input(to_rgb(frame, layout), view, preprocess)
    for _ in range(3):
        embedding = engine.run_frame(frame, view, preprocess, layout)["embedding"]
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


@pytest.mark.parametrize("prompts", [2, 3])
def test_prompts_of_a_batch_are_answered_as_one_by_one(loader: SessionLoader, prompts: int) -> None:
    bundle = find_bundle("nano")
    rng = np.random.default_rng(prompts)
    session = loader(bundle.graph("decoder"), SessionOptions(threads=1))
    sides = {2: 2, 3: 3}
    given: dict[str, np.ndarray] = {}
    for spec in bundle.manifest.graphs["decoder"].inputs:
        # "8*rows" of a picture that is 64 pixels high and 96 wide.
        shape = [
            side
            if isinstance(side, int)
            else prompts
            if side == "prompts"
            else int(side.split("*")[0]) * sides[axis]
            for axis, side in enumerate(spec.shape)
        ]
        given[spec.name] = rng.normal(0, 1, shape).astype(np.float32)
    given["point_coords"] = rng.uniform(0, 64, given["point_coords"].shape).astype(np.float32)
    labels = rng.choice([1.0, 0.0, -2.0], given["point_labels"].shape)
    given["point_labels"] = labels.astype(np.float32)
    given["point_labels"][:, 0] = 1
    given["has_mask"] = (np.arange(prompts) % 2).astype(np.float32)
    together = session.run(given)
    of_prompts = ("point_coords", "point_labels", "mask_logits", "has_mask")
    for index in range(prompts):
        own = {name: x[index : index + 1] if name in of_prompts else x for name, x in given.items()}
        alone = session.run(own)
        for name in ("logits", "iou"):
            np.testing.assert_allclose(
                np.asarray(alone[name])[0], np.asarray(together[name])[index], atol=1e-3, rtol=1e-3
            )
