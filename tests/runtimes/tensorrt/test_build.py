"""Building one plan: what the builder is asked, what its failures become, and real plans by NVIDIA's own."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.shapes import ShapeRange, graph_shapes
from sam_edge.errors import BundleError, EngineError, SamEdgeError
from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.build import BuilderSettings, Built, build_plan, workspace_limit_mb
from tests.exporters.lint.rtx import build, really_built
from tests.runtimes.tensorrt.fake_builder import MEASURED, PLAN, FakeTrt, ParserError, Severity

MIB = 1 << 20
FIXED = ShapeRange((1, 4), (1, 4), (1, 4))
FREE = ShapeRange((1, 2), (1, 4), (1, 8))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"a graph")
    return path


def module(trt: FakeTrt) -> TensorRtModule:
    return cast(TensorRtModule, trt)


def built(trt: FakeTrt, graph: Path, **settings: Any) -> Built:
    return build_plan(module(trt), graph, BuilderSettings(**settings), 300, b"", free_mb=lambda: 2507)


def test_what_the_builder_is_asked(graph: Path) -> None:
    trt = FakeTrt(inputs=("image", "size", "other"))
    answer = built(trt, graph, shapes={"image": FREE, "size": FIXED})
    assert answer == Built(PLAN, MEASURED)
    assert trt.network_flags == 1 << 1
    assert trt.config.pools == {"WORKSPACE": 300 * MIB}
    assert trt.config.flags == {"TF32": False}
    assert trt.config.profile == {"image": ((1, 2), (1, 4), (1, 8))}
    # An input of one shape is fixed in the network itself.
    assert [tensor.shape for tensor in trt.tensors] == [(1, -1), (1, 4), (1, -1)]


def test_a_static_network_gets_no_profile(graph: Path) -> None:
    trt = FakeTrt()
    built(trt, graph, shapes={"image": FIXED})
    assert not hasattr(trt.config, "profile")


@pytest.mark.parametrize(
    ("given_timing", "used", "measured"),
    [(None, None, None), (b"", b"", MEASURED), (b"old", b"old", MEASURED), (b"unreadable", b"", MEASURED)],
)
def test_timings(given_timing: bytes | None, used: bytes | None, measured: bytes | None, graph: Path) -> None:
    trt = FakeTrt()
    answer = build_plan(module(trt), graph, BuilderSettings(), 300, given_timing)
    assert getattr(trt.config, "given_timing", None) == used
    assert answer.timing == measured


def refusal(trt: FakeTrt, graph: Path, kind: type[Exception]) -> str:
    """The one line of the error."""
    with pytest.raises(kind) as error:
        built(trt, graph)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_node_that_is_not_read_is_named(graph: Path) -> None:
    problem = ParserError(name="/blocks.3/attn", operator="Attention", why="no\nimporter")
    text = refusal(FakeTrt(parse_errors=[problem]), graph, BundleError)
    assert "/blocks.3/attn (Attention)" in text
    assert "no importer" in text


def test_a_graph_that_is_not_read_is_named(graph: Path) -> None:
    problem = ParserError(name="", operator="", why="bad weights")
    assert f"{graph}: bad weights" in refusal(FakeTrt(parse_errors=[problem]), graph, BundleError)
    graph.unlink()
    assert "is missing" in refusal(FakeTrt(), graph, BundleError)


# As TensorRT 8.6 to 10.x write them.
OUT_OF_MEMORY = {
    "Error Code 2: OutOfMemory (Requested size was 4454350848 bytes.)": "4.1 GB were asked for",
    "Requested amount of GPU memory (4454350848 bytes) could not be allocated.": "4.1 GB were asked for",
    "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)": "2.4 GB are free",
}


@pytest.mark.parametrize("message", OUT_OF_MEMORY)
def test_out_of_memory_says_what_was_asked_and_had(message: str, graph: Path) -> None:
    text = refusal(FakeTrt(logs=[(Severity.ERROR, message)], builds=False), graph, EngineError)
    assert OUT_OF_MEMORY[message] in text
    assert "2.4 GB are free" in text
    assert "--workspace 300" in text


def test_too_little_workspace(graph: Path) -> None:
    message = "Could not find any implementation for node {Conv_3} due to insufficient workspace."
    text = refusal(FakeTrt(logs=[(Severity.ERROR, message)], builds=False), graph, EngineError)
    assert "in 300 MiB of workspace" in text
    assert "{Conv_3}" in text
    assert "more with --workspace" in text


def test_another_failure_ends_in_its_last_error(graph: Path) -> None:
    logs = [(Severity.ERROR, "first"), (Severity.ERROR, "the\nlast"), (Severity.WARNING, "beside the point")]
    text = refusal(FakeTrt(logs=logs, builds=False), graph, EngineError)
    assert f"{graph}: the last" in text
    assert "does not say why" in refusal(FakeTrt(builds=False), graph, EngineError)


@pytest.mark.parametrize(
    "trt",
    [
        FakeTrt(),
        FakeTrt(builds=False),
        FakeTrt(parse_errors=[ParserError(why="no", name="n", operator="Foo")]),
    ],
)
def test_no_builder_is_left_to_the_garbage_collector(trt: FakeTrt, graph: Path) -> None:
    gc.disable()
    try:
        built(trt, graph, shapes={"image": FREE})
    except SamEdgeError as error:
        # Who keeps the error, in a list or as what a test expected, keeps no builder.
        kept: list[object] = [error]
        kept.append(kept)  # garbage that only the collector finds
    finally:
        gc.enable()
    (builder,) = trt.builders
    assert builder() is None


def test_interrupting_stops_the_builder_and_comes_through(graph: Path) -> None:
    trt = FakeTrt(steps=[("Building engine", None, 5)])
    shares: list[float] = []

    def progress(done: float) -> None:
        shares.append(done)
        if len(shares) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(module(trt), graph, BuilderSettings(), 300, progress=progress)
    assert shares == [0.2, 0.4]


def test_progress_only_grows_and_follows_the_outermost_phase(graph: Path) -> None:
    trt = FakeTrt(steps=[("outer", None, 4), ("inner", "outer", 2), ("another", None, 2)])
    shares: list[float] = []
    build_plan(module(trt), graph, BuilderSettings(), 300, progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("input_wh", [None, (512, 288)])
def test_the_shipped_encoder_is_built(rtx: Any, input_wh: tuple[int, int] | None) -> None:
    bundle = find_bundle("nano")
    shapes = graph_shapes(bundle.manifest, "encoder", input_wh)
    assert len(really_built(rtx, bundle.graph("encoder"), shapes).plan) > bundle.graph("encoder").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("input_wh", [None, (512, 288)])
def test_the_shipped_decoder_is_built(rtx: Any, input_wh: tuple[int, int] | None) -> None:
    bundle = find_bundle("nano")
    really_built(rtx, bundle.graph("decoder"), graph_shapes(bundle.manifest, "decoder", input_wh))


@pytest.mark.slow
def test_every_graph_of_a_sam_is_built(rtx: Any, tiny_bundle: Path) -> None:
    bundle = find_bundle(tiny_bundle)
    for name in bundle.manifest.graphs:
        really_built(rtx, bundle.graph(name), graph_shapes(bundle.manifest, name, None))


def test_a_dynamic_graph_without_a_profile_is_refused_in_one_line(rtx: Any) -> None:
    with pytest.raises(EngineError, match="no optimization profile") as error:
        build(rtx, find_bundle("nano").graph("encoder"))
    assert "\n" not in str(error.value)


@given(st.integers(0, 200_000))
def test_scratch_memory_is_a_quarter_within_bounds(free_mb: int) -> None:
    limit = workspace_limit_mb(free_mb)
    assert 128 <= limit <= 4096
    assert limit in {free_mb // 4, 128, 4096}


def test_shapes_are_json() -> None:
    settings = BuilderSettings(shapes={"x": ShapeRange((1,), (2,), (3,))})
    assert json.loads(json.dumps(settings.document()))["shapes"] == {"x": [[1], [2], [3]]}
