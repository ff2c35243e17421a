"""Our calls and the direct ones compute the same, and both are timed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.overhead import DIRECT, _feeds, main
from sam_edge.bundle import find_bundle
from sam_edge.prompt import Prompt
from sam_edge.runtime import find_runtime
from sam_edge.segmenter import Segmenter


@pytest.mark.parametrize("runtime", DIRECT)
def test_both_sides_answer_alike(runtime: str) -> None:
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    bundle, opener = find_bundle("nano"), find_runtime(runtime)[1]
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    prompt = Prompt.points([(48, 32)])
    fed = _feeds(bundle, opener, image, prompt)
    assert set(fed) == {"encoder", "decoder"}
    with Segmenter(bundle, opener, threads=1) as segmenter:
        masks = segmenter.decode(segmenter.encode(image), prompt)
    answer: Any = DIRECT[runtime](bundle.graph("decoder"), 1, fed["decoder"])(fed["decoder"])
    # OpenVINO names its outputs, onnxruntime lists them.
    logits, _ = answer.values() if runtime == "openvino" else answer
    np.testing.assert_allclose(logits[0, 1:], masks.logits, atol=1e-4)


def test_report() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")
    quickly = ["--runtime", "onnxruntime", "--size", "96x64", "--rounds", "1", "--threads", "1"]
    answer = CliRunner().invoke(main, [*quickly, "--json"])
    assert answer.exit_code == 0
    (row,) = json.loads(answer.output).values()
    assert min(row[name] for name in ("encode_ms", "encode_direct_ms", "decode_ms", "decode_direct_ms")) > 0
    assert row["decoder_overhead_ms"] == pytest.approx(row["decode_ms"] - row["decode_direct_ms"], abs=0.002)
    assert CliRunner().invoke(main, quickly).output.startswith("onnxruntime ")
