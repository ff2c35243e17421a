"""The TensorRT plans that onnxruntime keeps: whose they are, and that only its own come back to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.errors import EngineError, InputError
from sam_edge.host import nvidia_driver as driver
from sam_edge.runtimes.onnxruntime import providers
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime import tensorrt_plans as plans
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.runtimes.onnxruntime.tensorrt_plans import ProviderPlans, plan_entry
from sam_edge.runtimes.tensorrt.cache import PlanCache
from sam_edge.sessions.session import SessionOptions
from tests.host.machines import jetson
from tests.runtimes.onnxruntime.graphs import image, write_encoder

GPU = driver.CudaDevice("Orin", 7620, "8.7")


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "graph-key.plan"


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
    encoder, machine = write_encoder(tmp_path), jetson(tmp_path / "jetson")
    usual = {
        "found": driver.Driver("12.6", (GPU,)),
        "here": machine,
        "tf32": "0",
        "ort": "1.32.0",
        "edge": "0.1.0",
    }
    changes: list[dict[str, Any]] = [
        {},
        {"found": driver.Driver("12.8", (GPU,))},
        {"found": driver.Driver("12.6", (replace(GPU, compute_capability="8.6"),))},
        {"here": replace(machine, cuda_driver="540.4.0")},
        {"here": replace(machine, l4t=(36, 4, 4))},
        {"tf32": "1"},
        {"ort": "1.33.0"},
        {"edge": "0.2.0"},
        {},
    ]
    entries = []
    for change in changes:
        facts: dict[str, Any] = usual | change
        monkeypatch.setattr(driver, "probe", lambda facts=facts: facts["found"])
        monkeypatch.setattr(plans, "this_machine", lambda facts=facts: facts["here"])
        monkeypatch.setattr(plans.ort, "__version__", facts["ort"])
        monkeypatch.setattr(plans, "version", lambda name, facts=facts: facts["edge"])
        monkeypatch.setenv(plans.TF32_OVERRIDE, facts["tf32"])
        entries.append(plan_entry(encoder))
    assert len(set(entries)) == len(changes) - 1
    assert entries[-1] == entries[0]
    assert entries[0].parent.name == "onnxruntime"


def test_a_plan_is_built_once(entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensorrt = TensorRt()
    for _ in range(3):
        assert ProviderPlans(entry).open(tensorrt) == "session"
        assert tensorrt.folder == entry
    assert tensorrt.built == 1
    assert entry.stat().st_mode & 0o77 == 0
    assert not caplog.records


@pytest.mark.parametrize("harm", ["other.engine", "graph.engine"])
def test_what_onnxruntime_did_not_write_never_comes_back_to_it(entry: Path, harm: str) -> None:
    tensorrt = TensorRt()
    for built in (1, 2):
        ProviderPlans(entry).open(tensorrt)
        assert tensorrt.built == built
        assert [path.name for path in entry.iterdir()] == ["graph.engine"]
        (entry / harm).write_bytes(b"theirs")


def test_plans_that_tensorrt_refuses_are_built_again(entry: Path, caplog: pytest.LogCaptureFixture) -> None:
    ProviderPlans(entry).open(TensorRt())
    tensorrt = TensorRt()

    def refuses(folder: Path | None) -> str:
        if (entry / "graph.engine").exists():
            raise RuntimeError("Failed to deserialize\nengine")
        return tensorrt(folder)

    assert ProviderPlans(entry).open(refuses) == "session"
    assert tensorrt.built == 1
    assert "Failed to deserialize engine" in caplog.text


@pytest.mark.parametrize(
    ("error", "had_plans"),
    [
        (RuntimeError("no such node"), False),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), True),
        (EngineError("libnvinfer.so.10 is not found"), True),
    ],
)
def test_other_errors_throw_no_plans_away(entry: Path, error: Exception, had_plans: bool) -> None:
    if had_plans:
        ProviderPlans(entry).open(TensorRt())

    def fails(folder: Path | None) -> str:
        raise error

    with pytest.raises(type(error)):
        ProviderPlans(entry).open(fails)
    assert (entry / "graph.engine").exists() == had_plans


def test_plans_that_a_run_builds_are_kept_too(entry: Path) -> None:
    """For a graph with free dimensions the first run builds, and so does one beyond the sizes seen so far."""
    kept = ProviderPlans(entry)
    kept.open(lambda folder: None)
    (entry / "graph.engine").write_bytes(b"plan")
    with PlanCache(entry.parent).lock(None):
        # Another process is at work: nobody waits for it, and a later run seals.
        kept.after_run({"image": (1, 3)})
    tensorrt = TensorRt()
    kept.after_run({"image": (1, 3)})
    ProviderPlans(entry).open(tensorrt)
    assert tensorrt.built == 0
    # A run of known shapes builds nothing, so what is there then is not sealed.
    (entry / "graph.engine").write_bytes(b"changed")
    kept.after_run({"image": (1, 3)})
    ProviderPlans(entry).open(tensorrt)
    assert tensorrt.built == 1


def test_a_folder_that_others_can_write_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    tensorrt = TensorRt()
    kept = ProviderPlans(tmp_path / "graph.plan")
    assert kept.open(tensorrt) == "session"
    assert tensorrt.folder is None
    assert "at every start" in caplog.text
    kept.after_run({"image": (1, 3)})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An onnxruntime that writes a file into the folder of plans when it opens a graph, one when it runs it."""
    real = providers.ort.InferenceSession
    simulated = SimpleNamespace(folder=tmp_path / "cache" / "graph.plan", written=[], error="")

    class Session(real):  # type: ignore[misc, valid-type]  # known only here
        def __init__(self, path: str, options: Any, providers: Any, **_: Any) -> None:
            assert providers[0][1]["trt_engine_cache_path"] == str(simulated.folder)
            super().__init__(path, options, providers=["CPUExecutionProvider"])
            self._write("graph.timing")

        def get_providers(self) -> list[str]:
            return list(providers.PROVIDER_OF.values())

        def run(self, *arguments: Any) -> Any:
            if simulated.error:
                raise RuntimeError(simulated.error)
            answer = super().run(*arguments)
            self._write("graph.engine")
            return answer

        def _write(self, name: str) -> None:
            if not (simulated.folder / name).exists():
                simulated.written.append(name)
                (simulated.folder / name).write_bytes(name.encode())

    monkeypatch.setattr(providers.ort, "InferenceSession", Session)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    monkeypatch.setattr(module, "plan_entry", lambda graph: simulated.folder)
    return simulated


def test_a_session_keeps_what_is_built_when_it_opens_and_when_it_runs(
    tmp_path: Path, tensorrt: SimpleNamespace
) -> None:
    def opened() -> OnnxRuntimeSession:
        # On the host: this machine may have no GPU.
        return OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="tensorrt"), resident=False)

    for _ in range(2):
        opened().run(image(1))
    assert tensorrt.written == ["graph.timing", "graph.engine"]
    engine = opened()
    tensorrt.error = "Got invalid dimensions for input"
    with pytest.raises(InputError):
        engine.run(image(1))
    assert (tensorrt.folder / "graph.engine").exists()
    tensorrt.error = "TensorRT EP could not deserialize engine from cache: graph.engine"
    with pytest.raises(EngineError, match="removed"):
        engine.run(image(1))
    assert not tensorrt.folder.exists()
    tensorrt.error = ""
    opened().run(image(1))
    assert tensorrt.written == ["graph.timing", "graph.engine"] * 2
