"""Our calls and the direct ones compute the same on engines with the same settings, and are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.speed import overhead
from sam_edge.benchmarks.speed.direct import DIRECT
from sam_edge.benchmarks.speed.overhead import compare, main, measure
from sam_edge.embedding import Embedding
from sam_edge.masks import Masks

SETTINGS = (
    *("PERFORMANCE_HINT", "EXECUTION_MODE_HINT", "INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE"),
    *("INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING", "NUM_STREAMS", "ENABLE_HYPER_THREADING"),
)
"""Of OpenVINO, that the time depends on."""


def answers_of(runtime: str, frame_wh: tuple[int, int], patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the timed calls answer, encodes and decodes, each of them called in turns as by the clock."""
    answers: list[dict[str, Any]] = []

    def called(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
        for _ in range(rounds):
            answer = {name: call() for name, call in calls.items()}
        answers.append(answer)
        return dict.fromkeys(calls, 1.0)

    patch.setattr(overhead, "interleaved_ms", called)
    measure("nano", runtime, frame_wh, 1, 3)
    return answers


@pytest.mark.parametrize("runtime", DIRECT)
@pytest.mark.parametrize("frame_wh", [(96, 64), (640, 480)])
def test_both_sides_answer_alike(
    runtime: str, frame_wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    encodes, decodes = answers_of(runtime, frame_wh, monkeypatch)
    for number in range(2):
        ours: Embedding = encodes[f"ours {number}"]
        for value, direct in zip(ours.tensors.values(), encodes[f"direct {number}"], strict=True):
            np.testing.assert_allclose(direct, value, atol=1e-5, rtol=1e-5)
    for number in range(5):
        masks: Masks = decodes[f"ours {number}"]
        logits, iou = decodes[f"direct {number}"]
        np.testing.assert_allclose(logits[0, 1:], masks.logits, atol=1e-4)
        np.testing.assert_allclose(iou[0, 1:], masks.predicted_iou, atol=1e-5)


def test_onnxruntime_has_the_same_settings_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    opened: dict[str, list[tuple[object, ...]]] = {"encoder": [], "decoder": []}
    real = ort.InferenceSession

    def recorded(graph: str, options: Any, **others: Any) -> Any:
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        kept = options.enable_cpu_mem_arena, options.enable_mem_pattern, options.graph_optimization_level
        name = "decoder" if "decoder" in graph else "encoder"
        opened[name].append((spinning, options.intra_op_num_threads, options.execution_mode, *kept))
        return real(graph, options, **others)

    monkeypatch.setattr(ort, "InferenceSession", recorded)
    answers_of("onnxruntime", (96, 64), monkeypatch)
    for name, sessions in opened.items():
        ours, *_, direct = sessions
        assert direct == ours, name


def test_openvino_has_the_same_settings_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    ov = pytest.importorskip("openvino", reason="openvino is not installed")
    made: list[dict[str, object]] = []

    def recorded(how: Callable[..., Any]) -> Callable[..., Any]:
        def make(*arguments: Any) -> Any:
            compiled = how(*arguments)
            made.append({name: compiled.get_property(name) for name in SETTINGS})
            return compiled

        return make

    for name in ("compile_model", "import_model"):
        monkeypatch.setattr(ov.Core, name, recorded(getattr(ov.Core, name)))
    answers_of("openvino", (96, 64), monkeypatch)
    # Ours encoder and decoder, one to learn what the decoder is fed, then the direct ones.
    ours = [settings for settings in made if settings in made[-2:]]
    encoder, decoder = made[-2:]
    assert encoder["INFERENCE_NUM_THREADS"] == 1
    assert ours.count(encoder) >= 2
    assert ours.count(decoder) >= 2


def test_overhead_of_known_times() -> None:
    encodes = {"ours 0": 10, "direct 0": 9, "direct 1": 11, "ours 1": 15}
    # The first of each side does not count, and one that was held up moves nothing.
    ours, direct = (90, 3, 3.25, 3.25, 80), (1, 3, 3, 3, 70)
    decodes = {f"ours {n}": ms for n, ms in enumerate(ours)} | {
        f"direct {n}": ms for n, ms in enumerate(direct)
    }
    assert compare(encodes, decodes) == {
        "encode_ms": 12.5,
        "encode_direct_ms": 10,
        "encoder_overhead_percent": 25,
        "decode_ms": 3.25,
        "decode_direct_ms": 3,
        "decoder_overhead_ms": 0.25,
    }


def test_report() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")
    quickly = ["--runtime", "onnxruntime", "--size", "96x64", "--rounds", "1", "--threads", "1"]
    answer = CliRunner().invoke(main, [*quickly, "--json"])
    assert answer.exit_code == 0
    (row,) = json.loads(answer.output).values()
    assert min(row[name] for name in ("encode_ms", "encode_direct_ms", "decode_ms", "decode_direct_ms")) > 0
    assert row["decoder_overhead_ms"] == pytest.approx(row["decode_ms"] - row["decode_direct_ms"], abs=0.002)
    assert CliRunner().invoke(main, quickly).output.startswith("onnxruntime ")
