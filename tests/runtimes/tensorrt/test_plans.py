"""Plans of a model folder: shapes, the cache, two builders at once, damage, and who may build at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import EngineError, InputError, OutputError
from sam_edge.runtimes.tensorrt.build import Memory
from sam_edge.runtimes.tensorrt.plan_cache import (
    PlanDevice,
    find_plan,
    key_path,
    plan_path,
    read_plan,
    write_plan,
)
from sam_edge.runtimes.tensorrt.plans import (
    BuildEnvironment,
    Outcome,
    PlanRequest,
    build_request,
    build_requests,
    choose_engine,
    plan_requests,
    request_key,
    timing_key,
)
from sam_edge.runtimes.tensorrt.settings import BuilderSettings
from sam_edge.storage.cache import BlobCache
from tests.runtimes.tensorrt.fake_builder import LEARNT, PLAN, FakeTrt

ORIN = PlanDevice("10.3.0", "540.4.0", "12.6", "Orin", "8.7", 8, "36.4.3")
NANO = find_bundle("nano")


def environment(folder: Path, trt: FakeTrt | None = None, device: PlanDevice = ORIN) -> BuildEnvironment:
    return BuildEnvironment(trt or FakeTrt(), device, lambda: Memory(3000, 7600), folder)


def requests(input_wh: tuple[int, int] | None = None, **settings: Any) -> list[PlanRequest]:
    found: list[PlanRequest] = plan_requests(
        NANO, EngineSpec("tensorrt"), BuilderSettings(**settings), input_wh
    )
    return found


def build(place: BuildEnvironment, request: PlanRequest) -> Outcome:
    outcome: Outcome = build_request(place, request, lambda step, done: None)
    return outcome


def test_scratch_memory_of_the_moment_does_not_make_another_plan(tmp_path: Path) -> None:
    first = FakeTrt()
    build(environment(tmp_path, first), requests()[0])
    assert first.config.pools == {"WORKSPACE": 750 << 20}
    later = BuildEnvironment(FakeTrt(), ORIN, lambda: Memory(500, 7600), tmp_path)
    assert build(later, requests()[0]).why == ""
    chosen = FakeTrt()
    assert "other settings" in build(environment(tmp_path, chosen), requests(workspace_mb=64)[0]).why
    assert chosen.config.pools == {"WORKSPACE": 64 << 20}


def test_plans_are_built_once_and_found_by_the_runtime(tmp_path: Path) -> None:
    trt, said = FakeTrt(inputs=("image", "embedding")), []
    outcomes = list(
        build_requests(environment(tmp_path, trt), requests(), lambda step, done: said.append((step, done)))
    )
    assert [outcome.name for outcome in outcomes] == ["encoder", "decoder", "decoder_many"]
    assert all("no TensorRT plan for this device yet" in outcome.why for outcome in outcomes)
    assert [share for _, share in said] == sorted(share for _, share in said)
    assert said[-1] == ("done", 1.0)
    assert ("building decoder", pytest.approx(0.5)) in said
    for outcome in outcomes:
        found = find_plan(NANO.graph(outcome.name), ORIN, None, tmp_path, unverified=True)
        assert found == outcome.plan
        plan, key = read_plan(found)
        assert plan == PLAN
        assert key.shapes == {
            spec.name: spec.shape
            for spec in (
                *NANO.manifest.graphs[outcome.name].inputs,
                *NANO.manifest.graphs[outcome.name].outputs,
            )
        }
    again = list(build_requests(environment(tmp_path, trt), requests(), lambda step, done: None))
    assert [(item.plan, item.why, item.seconds) for item in again] == [
        (item.plan, "", 0.0) for item in outcomes
    ]
    assert trt.built == 3


def test_a_plan_of_one_size_knows_its_shapes_by_itself(tmp_path: Path) -> None:
    outcome = build(environment(tmp_path), requests((512, 288))[0])
    assert read_plan(outcome.plan)[1].shapes == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tensorrt": "10.13.3"}, "built for tensorrt 10.3.0, here is 10.13.3"),
        ({"driver": "560.1"}, "built for driver 540.4.0, here is 560.1"),
        ({"device_name": "Thor"}, "built for device name Orin, here is Thor"),
        ({"l4t": "36.5.0"}, "built for l4t 36.4.3, here is 36.5.0"),
    ],
)
def test_a_foreign_plan_is_built_anew_and_why_is_said(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    request = requests()[0]
    old = build(environment(tmp_path), request)
    new = build(environment(tmp_path, device=replace(ORIN, **change)), request)
    assert why in new.why
    assert "sam-edge build" not in new.why
    assert new.plan != old.plan


def test_damage_is_removed_and_built_anew(tmp_path: Path) -> None:
    request, trt = requests()[0], FakeTrt()
    plan = build(environment(tmp_path, trt), request).plan
    plan.write_bytes(PLAN[:-1])
    assert "was damaged and has been removed" in build(environment(tmp_path, trt), request).why
    key_path(plan).write_text("{")
    assert "json was damaged" in build(environment(tmp_path, trt), request).why
    plan.unlink()
    assert build(environment(tmp_path, trt), request).why
    assert plan.read_bytes() == PLAN
    assert trt.built == 4


def test_a_plan_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    request = requests()[0]
    plan = build(environment(tmp_path), request).plan
    plan.chmod(0o666)
    assert "can be written by other users" in build(environment(tmp_path), request).why
    assert read_plan(plan)[0] == PLAN
    assert build(environment(tmp_path), request).why == ""


def test_a_build_that_fails_leaves_no_plan(tmp_path: Path) -> None:
    request = requests()[0]
    with pytest.raises(EngineError):
        build(environment(tmp_path, FakeTrt(builds=False)), request)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert build(environment(tmp_path), request).why


def test_timings_are_kept_and_given_to_the_next_build(tmp_path: Path) -> None:
    path = BlobCache(tmp_path).path(timing_key(ORIN))
    first, second, third = FakeTrt(), FakeTrt(), FakeTrt()
    build(environment(tmp_path, first), requests()[0])
    assert first.config.given_timing == b""
    build(environment(tmp_path, second), requests()[1])
    assert second.config.given_timing == LEARNT
    # A damaged cache costs time and nothing else.
    path.write_bytes(path.read_bytes()[:-1])
    build(environment(tmp_path, third), requests((512, 288))[0])
    assert third.config.given_timing == b""
    assert timing_key(replace(ORIN, driver="560.1")) != timing_key(ORIN)


def test_the_device_is_chosen_before_every_build(tmp_path: Path) -> None:
    order: list[str] = []

    def plan(graph: Path) -> bytes:
        order.append(graph.stem)
        return PLAN

    place = replace(environment(tmp_path, FakeTrt(plan=plan)), enter=lambda: order.append("device"))
    list(build_requests(place, requests()[:2], lambda step, done: None))
    assert order == ["device", "encoder", "device", "decoder"]


def test_without_timings(tmp_path: Path) -> None:
    trt = FakeTrt()
    build(replace(environment(tmp_path, trt), remember_timing=False), requests()[0])
    assert not hasattr(trt.config, "given_timing")
    assert BlobCache(tmp_path).read(timing_key(ORIN)) is None


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_who_comes_second_waits_and_takes_what_the_first_has_built(tmp_path: Path) -> None:
    request, trt = requests()[0], FakeTrt()
    lock = plan_path(request.graph, request_key(request, ORIN), tmp_path).with_suffix(".lock")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waits = threading.Event()
        outcomes: list[Outcome] = []

        def show(step: str, done: float) -> None:
            if "waiting" in step:
                waits.set()

        def second() -> None:
            outcomes.append(build_request(environment(tmp_path, trt), request, show))

        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        assert not outcomes
        # Meanwhile the first one finishes its plan.
        key = replace(request_key(request, ORIN), plan_sha256=sha256(PLAN).hexdigest())
        path = write_plan(request.graph, PLAN, key, tmp_path)
    finally:
        holder.communicate()
    thread.join(30)
    assert outcomes == [Outcome("encoder", path, len(PLAN), 0.0, "")]
    assert trt.built == 0


def test_the_cache_cannot_be_written(tmp_path: Path) -> None:
    place = tmp_path / "a file"
    place.write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        build(environment(place / "cache"), requests()[0])


def test_the_precision_that_the_folder_has() -> None:
    engines = {"tensorrt-fp16": {"encoder": "encoder.onnx"}}
    half = Bundle(NANO.path, replace(NANO.manifest, engines=engines))
    assert choose_engine(half, None) == choose_engine(half, "fp16") == EngineSpec("tensorrt:cuda", "fp16")
    assert choose_engine(half, "fp32") == choose_engine(NANO, None) == EngineSpec("tensorrt:cuda", "fp32")
    failed = replace(half.manifest, fidelity={"tensorrt:cuda-fp16": {"passed": 0.0}})
    assert choose_engine(Bundle(NANO.path, failed), None) == EngineSpec("tensorrt:cuda", "fp32")
    with pytest.raises(InputError, match="--target tensorrt --precision fp16"):
        choose_engine(NANO, "fp16")


WITHOUT_EXTRAS = """
import sys
for library in ("onnx", "torch", "onnxruntime"):
    sys.modules[library] = None
from sam_edge.runtimes.tensorrt import dry_run, plans
from sam_edge.bundle.folder import find_bundle
from sam_edge.runtimes.tensorrt.settings import BuilderSettings
bundle = find_bundle("nano")
engine = plans.choose_engine(bundle, None)
jobs = plans.plan_requests(bundle, engine, BuilderSettings())
print(dry_run.check_requests(jobs), [job.name for job in jobs])
"""


def test_a_device_needs_neither_onnx_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=False)
    assert done.stdout == "[] ['encoder', 'decoder', 'decoder_many']\n", done.stderr
