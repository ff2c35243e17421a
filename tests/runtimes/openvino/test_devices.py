"""Which devices OpenVINO can be had on, how they are told to compute, and whose compiled code is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'sam-edge[openvino]'")

from sam_edge.runtimes.openvino import model as module
from sam_edge.runtimes.openvino.library import ov
from sam_edge.runtimes.openvino.model import Compiler, device_problems, find_device, read_model, settings
from tests.runtimes.onnxruntime.graphs import save, tensor


class Core:
    """OpenVINO on a machine with other devices."""

    def __init__(self, devices: Sequence[str], properties: Mapping[str, Any] | None = None) -> None:
        self.available_devices = list(devices)
        self._properties = dict(properties or {})

    def get_property(self, device: str, name: str) -> Any:
        if name == "SUPPORTED_PROPERTIES":
            return dict.fromkeys(self._properties, "RW")
        return self._properties[name]


@pytest.fixture
def model(tmp_path: Path) -> ov.Model:
    node = helper.make_node("Neg", ["a"], ["b"])
    return read_model(save(tmp_path, "neg", [node], [tensor("a", 2)], [tensor("b", 2)]))


@pytest.mark.parametrize(
    ("devices", "chosen"),
    [
        (["CPU"], "CPU"),
        (["CPU", "GPU"], "GPU"),
        (["CPU", "GPU.0", "GPU.1", "NPU"], "GPU"),
        (["CPU", "NPU"], "CPU"),
        (["NPU"], "CPU"),
        ([], "CPU"),
    ],
)
def test_a_gpu_is_preferred_and_an_npu_has_to_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], chosen: str
) -> None:
    monkeypatch.setattr(module, "core", lambda: Core(devices))
    assert find_device(None) == chosen


@pytest.mark.parametrize(
    ("devices", "usable"),
    [
        (["CPU"], ["CPU"]),
        (["CPU", "GPU", "NPU"], ["CPU", "GPU", "NPU"]),
        (["CPU", "GPU.0", "GPU.1", "GPU.2"], ["CPU", "GPU", "GPU.1", "GPU.2"]),
    ],
)
def test_every_device_is_shown(monkeypatch: pytest.MonkeyPatch, devices: list[str], usable: list[str]) -> None:
    monkeypatch.setattr(module, "core", lambda: Core(devices))
    answers = device_problems()
    assert [name for name, problem in answers.items() if problem is None] == usable
    assert set(answers) == {"CPU", "GPU", "NPU", *usable}
    # Each can be chosen by the name it is shown with.
    assert [find_device(name) for name in usable] == usable


def test_the_cpu_answers_soon_and_leaves_its_threads_where_the_system_puts_them(model: ov.Model) -> None:
    asked = settings(model, "CPU", None)
    assert asked["PERFORMANCE_HINT"] == "LATENCY"
    assert asked["ENABLE_CPU_PINNING"] is False
    compiled = Compiler("CPU", asked, None, "").compile(model)
    assert str(compiled.get_property("PERFORMANCE_HINT")).endswith("LATENCY")
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert settings(model, "AUTO", None)["PERFORMANCE_HINT"] == "LATENCY"


def test_a_device_is_told_only_what_it_knows(model: ov.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "core", lambda: Core(["GPU"], {"INFERENCE_PRECISION_HINT": "f16"}))
    assert settings(model, "GPU", 2) == {"INFERENCE_PRECISION_HINT": "f32"}


def test_compiled_code_is_of_one_openvino_device_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"FULL_DEVICE_NAME": "Arc", "DEVICE_ARCHITECTURE": "v20.1", "GPU_DEVICE_ID": "0x64a0"}
    npu = {"FULL_DEVICE_NAME": "AI Boost", "DEVICE_ARCHITECTURE": "4000", "NPU_DRIVER_VERSION": "1688"}
    here = [("1.0", "GPU", gpu), ("1.1", "GPU", gpu), ("1.0", "GPU.1", gpu), ("1.0", "NPU", npu)]
    here += [("1.0", "GPU", gpu | {name: "other"}) for name in gpu]
    here += [("1.0", "NPU", npu | {"NPU_DRIVER_VERSION": "1700"})]
    keys = []
    for version, device, properties in [*here, here[0]]:
        core = Core([device], properties | {"OPTIMIZATION_CAPABILITIES": []})
        monkeypatch.setattr(module, "core", lambda core=core: core)
        monkeypatch.setattr(module.ov, "__version__", version)
        keys.append(Compiler(device, {}, None, "graph")._key)
    assert len(set(keys)) == len(here)
    assert keys[-1] == keys[0]


def test_the_graph_and_the_settings_are_part_of_the_key() -> None:
    asked: list[tuple[dict[str, Any], str]] = [({}, "a"), ({}, "b"), ({"INFERENCE_NUM_THREADS": 1}, "a")]
    assert len({Compiler("CPU", config, None, graph)._key for config, graph in asked}) == len(asked)
