"""The TensorRT plans that onnxruntime keeps: whose they are, and that only its own come back to it."""

from __future__ import annotations

import fcntl
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.errors import BundleError, EngineError, InputError
from sam_edge.host import nvidia_driver as driver
from sam_edge.runtimes.onnxruntime import providers
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime import tensorrt_plans as plans
from sam_edge.runtimes.onnxruntime.binding import Bound
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.runtimes.onnxruntime.tensorrt_plans import KeptPlans, plan_folder
from sam_edge.sessions.session import SessionOptions
from tests.host.machines import jetson
from tests.runtimes.onnxruntime.graphs import image, write_decoder, write_encoder

GPU = driver.CudaDevice("Orin", 7620, "8.7")


@pytest.fixture
def kept(tmp_path: Path) -> KeptPlans:
    return KeptPlans(tmp_path / "cache" / "graph-key")


class TensorRt:
    """Builds a plan where there is none, and takes what it finds."""

    def __init__(self) -> None:
        self.built = 0
        self.folder: Path | None = None

    def __call__(self, folder: Path | None) -> str:
        self.folder = folder
        if folder is None or not (folder / "graph.engine").exists():
            self.built += 1
            if folder is not None:
                (folder / "graph.engine").write_bytes(b"plan %d" % self.built)
        return "session"


def test_all_that_a_plan_depends_on_is_in_its_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, decoder = write_encoder(tmp_path), write_decoder(tmp_path)
    machine = jetson(tmp_path / "jetson")
    drivers = [
        driver.Driver("12.6", (GPU,)),
        driver.Driver("12.8", (GPU,)),
        driver.Driver("12.6", (replace(GPU, name="NVIDIA RTX A2000"),)),
        driver.Driver("12.6", (replace(GPU, compute_capability="8.6"),)),
    ]
    machines = [machine, replace(machine, cuda_driver="540.4.0"), replace(machine, l4t=(36, 4, 4))]
    asked = [(drivers[0], machines[0], encoder, "0", "1.32.0")]
    asked += [(found, machines[0], encoder, "0", "1.32.0") for found in drivers[1:]]
    asked += [(drivers[0], other, encoder, "0", "1.32.0") for other in machines[1:]]
    asked += [(drivers[0], machines[0], decoder, "0", "1.32.0")]
    asked += [(drivers[0], machines[0], encoder, "1", "1.32.0")]
    asked += [(drivers[0], machines[0], encoder, "0", "1.33.0")]
    folders = []
    for found, here, graph, tf32_override, onnxruntime in [*asked, asked[0]]:
        monkeypatch.setattr(driver, "probe", lambda found=found: found)
        monkeypatch.setattr(plans, "this_machine", lambda here=here: here)
        monkeypatch.setattr(plans.ort, "__version__", onnxruntime)
        monkeypatch.setenv(plans.TF32_OVERRIDE, tf32_override)
        folders.append(plan_folder(graph))
    assert len(set(folders)) == len(asked)
    assert folders[-1] == folders[0]
    assert folders[0].parent.name == "onnxruntime"
    with pytest.raises(BundleError, match=r"cannot read .*gone\.onnx"):
        plan_folder(tmp_path / "gone.onnx")


def test_a_plan_is_built_once(kept: KeptPlans, caplog: pytest.LogCaptureFixture) -> None:
    tensorrt = TensorRt()
    for _ in range(3):
        assert KeptPlans(kept.folder).open(tensorrt) == "session"
        assert tensorrt.folder == kept.folder
    assert tensorrt.built == 1
    assert kept.folder.stat().st_mode & 0o77 == 0
    assert not caplog.records


@pytest.mark.parametrize("harm", ["changed", "removed", "added", "unsealed", "seal damaged"])
def test_what_onnxruntime_did_not_write_never_comes_back_to_it(
    kept: KeptPlans, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt = TensorRt()
    kept.open(tensorrt)
    plan, seal = kept.folder / "graph.engine", kept.folder.with_name(f"{kept.folder.name}.json")
    other = kept.folder / "other.engine"
    {
        "changed": lambda: plan.write_bytes(b"plan 2"),
        "removed": plan.unlink,
        "added": lambda: other.write_bytes(b"plan"),
        "unsealed": seal.unlink,
        "seal damaged": lambda: seal.write_bytes(b"{"),
    }[harm]()
    KeptPlans(kept.folder).open(tensorrt)
    assert tensorrt.built == 2
    assert not other.exists()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "not what onnxruntime left there" in record.message
    KeptPlans(kept.folder).open(tensorrt)
    assert tensorrt.built == 2


def test_plans_that_tensorrt_refuses_are_built_anew_once(
    kept: KeptPlans, caplog: pytest.LogCaptureFixture
) -> None:
    kept.open(TensorRt())
    tensorrt = TensorRt()

    def refuses(folder: Path | None) -> str:
        if (kept.folder / "graph.engine").exists():
            raise RuntimeError("Failed to deserialize\nengine")
        return tensorrt(folder)

    assert kept.open(refuses) == "session"
    assert tensorrt.built == 1
    (record,) = caplog.records
    assert "refuses the plans it built before (Failed to deserialize engine)" in record.message


@pytest.mark.parametrize(
    ("error", "had_plans"),
    [
        (RuntimeError("no such node"), False),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), True),
        (EngineError("libnvinfer.so.10 is not found"), True),
    ],
)
def test_errors_that_are_no_fault_of_plans_throw_none_away(
    kept: KeptPlans, error: Exception, had_plans: bool
) -> None:
    if had_plans:
        kept.open(TensorRt())
    calls = []

    def fails(folder: Path | None) -> str:
        calls.append(folder)
        raise error

    with pytest.raises(type(error)):
        kept.open(fails)
    assert calls == [kept.folder]
    assert (kept.folder / "graph.engine").exists() == had_plans


def test_one_process_at_a_time_opens_a_graph(kept: KeptPlans, caplog: pytest.LogCaptureFixture) -> None:
    tensorrt = TensorRt()
    lock = kept.folder.with_name(f"{kept.folder.name}.lock")

    def taken() -> bool:
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def make(folder: Path | None) -> str:
        assert taken()
        return tensorrt(folder)

    kept.open(make)
    assert not taken()


def test_plans_that_a_run_builds_are_kept_too(kept: KeptPlans) -> None:
    """For a graph with free dimensions the first run builds, and so does one beyond the sizes seen so far."""
    kept.open(lambda folder: None)
    kept.folder.joinpath("graph.engine").write_bytes(b"plan")
    kept.after_run({"image": (1, 3)})
    tensorrt = TensorRt()
    KeptPlans(kept.folder).open(tensorrt)
    assert tensorrt.built == 0
    # A run like an earlier one builds nothing: no file is looked at.
    kept.folder.joinpath("graph.engine").write_bytes(b"changed")
    kept.after_run({"image": (1, 3)})
    KeptPlans(kept.folder).open(tensorrt)
    assert tensorrt.built == 1


def test_a_run_neither_waits_for_another_process_nor_vouches_for_what_it_writes(kept: KeptPlans) -> None:
    seal = kept.folder.with_name(f"{kept.folder.name}.json")

    def make(folder: Path | None) -> None:
        kept.folder.joinpath("graph.engine").write_bytes(b"half a pl")
        kept.after_run({"image": (1, 3)})
        assert not seal.exists()

    KeptPlans(kept.folder).open(make)
    assert seal.exists()


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    tensorrt = TensorRt()
    assert KeptPlans(tmp_path / "file" / "graph").open(tensorrt) == "session"
    assert tensorrt.folder is None
    assert "builds its plans at every start" in caplog.text


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An onnxruntime that writes a file into the folder of plans when it opens a graph, one when it runs it."""
    real = providers.ort.InferenceSession
    simulated = SimpleNamespace(folder=tmp_path / "plans", written=[], error="")

    class Session(real):  # type: ignore[misc, valid-type]
        def __init__(self, path: str, options: Any, providers: Any, **_: Any) -> None:
            assert providers[0][1]["trt_engine_cache_path"] == str(simulated.folder)
            super().__init__(path, options, providers=["CPUExecutionProvider"])
            self._write("graph.timing")

        def get_providers(self) -> list[str]:
            return list(providers.PROVIDER_OF.values())

        def run_with_iobinding(self, *arguments: Any) -> None:
            if simulated.error:
                raise RuntimeError(simulated.error)
            super().run_with_iobinding(*arguments)
            self._write("graph.engine")

        def _write(self, name: str) -> None:
            if not (simulated.folder / name).exists():
                simulated.written.append(name)
                (simulated.folder / name).write_bytes(name.encode())

    def bound(session: Any, memory: str, on_host: frozenset[str], replay: bool) -> Bound:
        return Bound(session, "cpu", on_host, replay=replay)

    monkeypatch.setattr(module, "Bound", bound)
    monkeypatch.setattr(providers.ort, "InferenceSession", Session)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    monkeypatch.setattr(module, "plan_folder", lambda graph: simulated.folder)
    return simulated


def test_an_engine_keeps_what_tensorrt_builds_in_its_session_and_in_its_runs(
    tmp_path: Path, tensorrt: SimpleNamespace
) -> None:
    for _ in range(2):
        OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="tensorrt")).run(image(1))
    assert tensorrt.written == ["graph.timing", "graph.engine"]


def test_a_plan_that_a_run_refuses_is_removed(tmp_path: Path, tensorrt: SimpleNamespace) -> None:
    OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="tensorrt")).run(image(1))
    engine = OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="tensorrt"))
    tensorrt.error = "Got invalid dimensions for input"
    with pytest.raises(InputError, match="invalid dimensions"):
        engine.run(image(1))
    assert (tensorrt.folder / "graph.engine").exists()
    tensorrt.error = "TensorRT EP could not deserialize engine from cache: graph.engine"
    with pytest.raises(EngineError, match="has been removed: open the model again"):
        engine.run(image(1))
    assert not tensorrt.folder.exists()
    tensorrt.error = ""
    OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="tensorrt")).run(image(1))
    assert tensorrt.written == ["graph.timing", "graph.engine"] * 2
