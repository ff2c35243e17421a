"""The benchmark's logic, on the CPU through the same code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.speed import cuda
from sam_edge.benchmarks.speed.cuda import VARIANTS, Timed, main, measure, table
from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import EngineError
from sam_edge.host import nvidia_driver as driver
from tests.host.machines import FakeDriver


def test_every_variant_is_timed_and_answers_alike() -> None:
    timings = measure(find_bundle("nano"), (96, 64), 2, "cpu")
    assert list(timings) == list(VARIANTS)
    for timing in timings.values():
        assert 0 < timing.encoder_ms <= timing.encoder_p99_ms
        assert 0 < timing.decoder_ms <= timing.decoder_p99_ms
        assert timing.logits_difference == 0
    assert all(name in table(timings) for name in timings)


def test_only_the_engine_is_timed() -> None:
    class Doubling:
        inputs = outputs = ()

        def run(self, feeds: Any) -> Any:
            return {name: value * 2 for name, value in feeds.items()}

        def close(self) -> None:
            raise EngineError("closed")

    times: list[float] = []
    engine = Timed(Doubling(), times)
    np.testing.assert_array_equal(engine.run({"a": np.ones(2, np.float32)})["a"], [2, 2])
    assert len(times) == 1
    with pytest.raises(EngineError, match="closed"):
        engine.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no CUDA device"),
        (["--device", "cpu", "--size", "12"], "--size '12' is not of the form WxH"),
        (["--device", "cpu", "--size", "0x9"], "is not of the form WxH"),
        (["--device", "cpu", "--model", "none"], "none is not a model"),
        (["--device", "cpu", "--precision", "fp16"], "has no fp16 engine"),
    ],
)
def test_what_is_missing_is_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(FakeDriver(start=100)))
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert answer.output.count("\n") == 1
    assert message in answer.output


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "WARMUP", 0)
    monkeypatch.setattr(cuda, "VARIANTS", {"resident on": True})
    answer = CliRunner().invoke(main, ["--device", "cpu", "--size", "96x64", "--rounds", "1", "--json"])
    assert answer.exit_code == 0
    document = json.loads(answer.output)
    assert document["device"] == "cpu"
    assert document["timings"]["resident on"]["encoder_ms"] > 0
