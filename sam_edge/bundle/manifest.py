"""What a model folder says about itself: `manifest.json`.

family, checkpoint, geometry, preprocessing, the tensors of each graph, the hash of every file,
the measured fidelity of every engine, and the hash of the manifest itself
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from sam_edge.errors import BundleError
from sam_edge.geometry import InputSize
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.tensors import TensorSpec

FORMAT = 2
"""Raised when a reader of the old format would misread the new one."""
Precision = Literal["fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
"""In which numbers an engine computes; fp16 keeps what float16 cannot hold in float32."""
Role = Literal["encoder", "decoder", "refine"]
ROLES: tuple[Role, ...] = ("encoder", "decoder", "refine")
"""What a graph is for: image to embedding; embedding and prompt to masks; embedding and mask prompt to what
decoders take in the place of the encoder's tensors."""
LABELS = "point_labels"
"""The decoders' input with a number a prompt slot, (batch, slots)."""


@dataclass(frozen=True)
class EngineSpec:
    """Which engine of a model: the graphs for a runtime, in one precision."""

    runtime: str
    """NAME:DEVICE, such as openvino:GPU; NAME where a runtime has no devices to choose from."""
    precision: Precision = "fp32"

    @property
    def key(self) -> str:
        """What its fidelity is listed under: two devices are two engines."""
        return f"{self.runtime}-{self.precision}"

    @property
    def graphs_key(self) -> str:
        """What its graphs are listed under: all devices of a runtime share them."""
        return f"{self.name}-{self.precision}"

    @property
    def is_on_processor(self) -> bool:
        """Whether it computes on a CPU."""
        return self.runtime.partition(":")[2].lower() in {"", "cpu"}

    @property
    def name(self) -> str:
        """The runtime without its device."""
        return self.runtime.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


@dataclass(frozen=True)
class Graph:
    """One computation of the model, as a file of the folder."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    role: Role

    @property
    def slots(self) -> int:
        """How many prompt slots a decoder has, two of them for a box; 0 of other graphs."""
        return next((int(spec.shape[-1]) for spec in self.inputs if spec.name == LABELS), 0)

    @property
    def is_batched(self) -> bool:
        """Whether a decoder answers any number of prompts in one run."""
        return any(isinstance(spec.shape[0], str) for spec in self.inputs if spec.name == LABELS)


@dataclass(frozen=True)
class Interface:
    """Graphs for programs that read another tool's exports; `Segmenter` does not use them."""

    files: Mapping[str, str]
    """Graph -> file."""
    fidelity: Mapping[str, float]
    """Measured difference to the PyTorch model."""


@dataclass(frozen=True)
class Manifest:
    """Everything known about a model folder but its weights."""

    name: str
    family: str
    checkpoint_sha256: str
    licence: str
    input_size: InputSize
    preprocess: Preprocess
    graphs: Mapping[str, Graph]
    """Name -> graph: one encoder, one decoder or several, and one `refine` where a mask prompt needs it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """File name -> hex SHA-256, filled in when the folder is written."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Library -> version that made the folder."""
    fidelity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`EngineSpec.key` -> measured difference to the PyTorch model, see `fidelity.result.FidelityResult`."""
    engines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Engine -> graph -> file, for the graphs that were made for it; the others are those of `graphs`."""
    raised: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Engine -> the nodes, as GRAPH/NODE, that had to be raised to float32 to pass the gate."""
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    """`official` or `samexporter` -> the graphs that look like theirs."""
    input_cost: Mapping[str, float] = field(default_factory=dict)
    """What an input of fixed sides costs and saves against the family's own: `square_mask_iou_mean`,
    `square_mask_iou_p1`, `prompts`, `encoder_gflop`, `square_encoder_gflop`."""

    @cached_property
    def decoders(self) -> Mapping[str, Graph]:
        """Name -> graph of every decoder, the one with the fewest prompt slots first."""
        decoders = [(name, graph) for name, graph in self.graphs.items() if graph.role == "decoder"]
        return dict(sorted(decoders, key=lambda item: (item[1].slots, item[1].is_batched)))

    def graph_of(self, file_name: str) -> Graph:
        """The graph that a file of the folder holds, in whatever precision.

        Raises:
            BundleError: no graph is in that file.
        """
        for name, graph in self.graphs.items():
            if file_name == graph.file or any(made.get(name) == file_name for made in self.engines.values()):
                return graph
        raise BundleError(f"{self.name} has no graph in a file {file_name}", hint="export the model again")

    @cached_property
    def model_id(self) -> str:
        """Tells two models apart, also two exports of one checkpoint: name and a hash of all the rest.

        Engines made for a runtime, and what was measured, do not make it another model.
        """
        beside = [*self.engines.values(), *(interface.files for interface in self.interfaces.values())]
        made = {file for graphs in beside for file in graphs.values()}
        files = {
            file: digest
            for file, digest in self.files.items()
            if not any(file == other or file.startswith(f"{other}.") for other in made)
        }
        core = replace(self, files=files, fidelity={}, engines={}, raised={}, interfaces={}, input_cost={})
        return f"{self.name}-{hashlib.sha256(dump(core)).hexdigest()[:12]}"

    def measured(self, engine: EngineSpec) -> Mapping[str, float] | None:
        """How far an engine is from the PyTorch model; None if nobody has measured it."""
        return self.fidelity.get(engine.key)


def dump(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON, sealed with a hash of itself."""
    document = {
        "format": FORMAT,
        "name": manifest.name,
        "family": manifest.family,
        "checkpoint_sha256": manifest.checkpoint_sha256,
        "licence": manifest.licence,
        "input_size": _plain(manifest.input_size),
        "preprocess": _plain(manifest.preprocess),
        "graphs": {
            name: {
                "role": graph.role,
                "file": graph.file,
                "inputs": [_plain(spec) for spec in graph.inputs],
                "outputs": [_plain(spec) for spec in graph.outputs],
            }
            for name, graph in manifest.graphs.items()
        },
        "files": dict(manifest.files),
        "tools": dict(manifest.tools),
        "fidelity": {engine: dict(values) for engine, values in manifest.fidelity.items()},
    }
    if manifest.engines:
        document["engines"] = {engine: dict(files) for engine, files in manifest.engines.items()}
    if manifest.raised:
        document["raised"] = {engine: list(nodes) for engine, nodes in manifest.raised.items()}
    if manifest.interfaces:
        document["interfaces"] = {
            name: {"files": dict(interface.files), "fidelity": dict(interface.fidelity)}
            for name, interface in manifest.interfaces.items()
        }
    if manifest.input_cost:
        document["input_cost"] = dict(manifest.input_cost)
    document["manifest_sha256"] = seal_of(document)
    return (json.dumps(document, indent=2) + "\n").encode()


def _plain(value: Any) -> dict[str, Any]:
    """A flat dataclass as a JSON object, tuples as lists."""
    items = {item.name: getattr(value, item.name) for item in fields(value)}
    return {key: list(item) if isinstance(item, tuple) else item for key, item in items.items()}


def seal_of(document: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a manifest as JSON, without the entry that holds it."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
