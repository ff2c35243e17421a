"""Plans of a model folder: shapes, the cache, two builders at once, damage, and where they can be built."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import EngineError
from sam_edge.host.machine import Machine
from sam_edge.progress import silent
from sam_edge.runtimes.tensorrt import device as device_module
from sam_edge.runtimes.tensorrt import plans as module
from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.build import BuilderSettings
from sam_edge.runtimes.tensorrt.cache import PlanCache, Seal
from sam_edge.runtimes.tensorrt.device import Gpu, PlanDevice
from sam_edge.runtimes.tensorrt.plans import (
    BuildEnvironment,
    Outcome,
    PlanRequest,
    build_request,
    build_requests,
    find_build_environment,
    plan_requests,
    timing_key,
)
from sam_edge.storage.cache import BlobCache
from tests.host.machines import bare_arm, jetson, nvidia_desktop
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda
from tests.runtimes.tensorrt.fake_builder import MEASURED, PLAN, FakeTrt

ORIN = PlanDevice("10.3.0", "540.4.0", "12.6", "Orin", "8.7", 8, "36.4.3")
NANO = find_bundle("nano")


def environment(folder: Path, trt: FakeTrt | None = None, device: PlanDevice = ORIN) -> BuildEnvironment:
    builder = cast(TensorRtModule, trt or FakeTrt())
    return BuildEnvironment(builder, device, lambda: 3000, PlanCache(folder), BlobCache(folder))


def requests(input_wh: tuple[int, int] | None = None, **settings: Any) -> list[PlanRequest]:
    return plan_requests(NANO, EngineSpec("tensorrt"), BuilderSettings(**settings), input_wh)


def build(place: BuildEnvironment, request: PlanRequest) -> Outcome:
    return build_request(place, request, silent)


def test_scratch_memory_of_the_moment_does_not_make_another_plan(tmp_path: Path) -> None:
    first = FakeTrt()
    build(environment(tmp_path, first), requests()[0])
    assert first.config.pools == {"WORKSPACE": 750 << 20}
    assert not build(replace(environment(tmp_path), free_mb=lambda: 500), requests()[0]).is_new
    chosen = FakeTrt()
    assert build(environment(tmp_path, chosen), requests(workspace_mb=64)[0]).is_new
    assert chosen.config.pools == {"WORKSPACE": 64 << 20}


def test_plans_are_built_once_and_found_again(tmp_path: Path) -> None:
    trt = FakeTrt(inputs=("image", "embedding"))
    steps: list[tuple[str, float | None]] = []
    place = environment(tmp_path, trt)

    def progress(step: str, done: float | None = None) -> None:
        steps.append((step, done))

    outcomes = list(build_requests(place, requests(), progress))
    assert [outcome.name for outcome in outcomes] == ["encoder", "decoder", "decoder_many"]
    shares = [share for _, share in steps if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for outcome in outcomes:
        assert place.ready(NANO.graph(outcome.name)) == outcome.plan
        assert outcome.plan.read_bytes() == PLAN
        graph = NANO.manifest.graphs[outcome.name]
        seal = place.cache.check(outcome.plan)
        assert seal.shapes == {spec.name: spec.shape for spec in (*graph.inputs, *graph.outputs)}
        assert seal.state == "unverified"
    again = list(build_requests(place, requests(), silent))
    assert [(item.plan, item.is_new) for item in again] == [(item.plan, False) for item in outcomes]
    assert trt.built == 3


def test_a_build_that_fails_leaves_no_plan(tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        build(environment(tmp_path, FakeTrt(builds=False)), requests()[0])
    assert not list(tmp_path.glob("*.plan*"))
    assert build(environment(tmp_path), requests()[0]).is_new


def test_timings_are_kept_and_given_to_the_next_build(tmp_path: Path) -> None:
    path = BlobCache(tmp_path).path(timing_key(ORIN))
    first, second, third = FakeTrt(), FakeTrt(), FakeTrt()
    build(environment(tmp_path, first), requests()[0])
    assert first.config.given_timing == b""
    build(environment(tmp_path, second), requests()[1])
    assert second.config.given_timing == MEASURED
    # A damaged cache costs time and nothing else.
    path.write_bytes(path.read_bytes()[:-1])
    build(environment(tmp_path, third), requests((512, 288))[0])
    assert third.config.given_timing == b""


def test_the_device_is_chosen_before_every_build(tmp_path: Path) -> None:
    order: list[str] = []

    def plan(graph: Path) -> bytes:
        order.append(graph.stem)
        return PLAN

    place = replace(environment(tmp_path, FakeTrt(plan=plan)), enter=lambda: order.append("device"))
    list(build_requests(place, requests()[:2], silent))
    assert order == ["device", "encoder", "device", "decoder"]


def test_who_comes_second_waits_and_takes_what_the_first_has_built(tmp_path: Path) -> None:
    request, trt = requests()[0], FakeTrt()
    first, second = environment(tmp_path), environment(tmp_path, trt)
    waits = threading.Event()
    outcomes: list[Outcome] = []

    def progress(step: str, done: float | None = None) -> None:
        if "waiting" in step:
            waits.set()

    thread = threading.Thread(target=lambda: outcomes.append(build_request(second, request, progress)))
    with first.cache.lock(None):
        thread.start()
        assert waits.wait(30)
        assert not outcomes
        first.cache.write(first.entry(request), PLAN, Seal({}, "unverified"))
    thread.join(30)
    assert [outcome.is_new for outcome in outcomes] == [False]
    assert trt.built == 0


def test_without_a_gpu_tensorrt_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_gpu", lambda device: pytest.fail("touched"))
    with pytest.raises(EngineError, match="no NVIDIA GPU") as caught:
        find_build_environment(bare_arm(tmp_path))
    assert caught.value.hint is not None
    assert "--dry-run" in caught.value.hint


@pytest.mark.parametrize(("name", "index"), [(None, 0), ("cuda", 0), ("cuda.1", 1)])
def test_plans_are_built_on_the_gpu_that_is_named(
    name: str | None, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def find_cuda(index: int) -> SimulatedCuda:
        asked.append(index)
        return SimulatedCuda()

    monkeypatch.setattr(device_module, "find_cuda", find_cuda)
    monkeypatch.setattr(device_module, "load_tensorrt", FakeTrt)
    assert find_build_environment(nvidia_desktop(tmp_path), name).device.device_name == "Simulated"
    assert asked == [index]


@pytest.mark.parametrize(("here", "free_mb"), [(jetson, 5000), (nvidia_desktop, 100)])
def test_on_jetson_the_file_cache_counts_as_free(
    here: Callable[[Path], Machine], free_mb: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(SimulatedCuda(total=100 << 20), cast(Any, FakeTrt()))
    monkeypatch.setattr(module, "find_gpu", lambda device: gpu)
    monkeypatch.setattr(module, "available_mb", lambda: 5000)
    assert find_build_environment(here(tmp_path)).free_mb() == free_mb


WITHOUT_EXTRAS = """
import sys
for library in ("onnx", "torch", "onnxruntime"):
    sys.modules[library] = None
from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.runtimes.tensorrt import dry_run, plans, prepare
from sam_edge.runtimes.tensorrt.build import BuilderSettings
requests = plans.plan_requests(find_bundle("nano"), EngineSpec("tensorrt:cuda"), BuilderSettings())
print(dry_run.check_requests(requests), len(requests))
"""


def test_a_device_needs_neither_onnx_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=False)
    assert done.stdout == "[] 3\n", done.stderr
