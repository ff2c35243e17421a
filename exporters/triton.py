"""A model folder as a model repository for NVIDIA's Triton Inference Server.

Every graph is a model of its own, and every decoder has an ensemble: image and prompts in, logits and predicted
IoU out. Formats: triton-inference-server/server, docs/user_guide/model_repository.md, model_configuration.md
and ensemble_models.md; the fields are those of `ModelConfig` in triton-inference-server/common,
protobuf/model_config.proto.

Triton batches requests only where each input and output has the same free first dimension. The decoders' free
dimension, `prompts`, is another thing: many prompts on one image, in one request. It stands in `dims` as -1.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Graph, Manifest, Precision
from sam_edge.errors import FidelityError, InputError, OutputError
from sam_edge.fidelity.result import FidelityResult
from sam_edge.storage.folders import temporary_folder
from sam_edge.tensors import TensorSpec

BACKEND = "onnxruntime"
CONFIG = "config.pbtxt"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What the manifest calls a graph becomes a folder's name."""
TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
}
MAX_DELAY_US = 1000
"""So long a request waits for others to be batched with; a gaze's mask is late after some milliseconds."""


@dataclass(frozen=True)
class TritonSettings:
    """What the server is told beside what the graphs say."""

    precision: Precision = "fp32"
    instances: int = 1
    """Copies of each graph on each device that the server uses: so many requests are computed at a time."""
    max_batch: int = 8
    """Requests that are computed together, at most, where a graph can."""


def write_repository(bundle: Bundle, out: str | Path, settings: TritonSettings | None = None) -> Path:
    """Write a model folder as a model repository, whole or not at all.

    Args:
        bundle: the model.
        out: the folder to make; it must not exist, or be empty.
        settings: precision, instances and batches; None: FP32, one, eight.

    Returns:
        The folder: `NAME/config.pbtxt` and `NAME/1/model.onnx` for each graph, `segment.../config.pbtxt` for
        the ensembles.

    Raises:
        InputError: the folder has no graphs of that precision, or tensors of a type that Triton has not.
        FidelityError: they were compared with the model, and failed.
        BundleError: a file of the model is damaged.
        OutputError: `out` holds something or cannot be written.
    """
    settings = settings or TritonSettings()
    out = Path(out)
    check_empty(out)
    engine = _engine(bundle, settings.precision)
    texts = configs(bundle.manifest, settings)
    with _folder_for(out) as folder:
        for name in bundle.manifest.graphs:
            version = folder / name / "1"
            version.mkdir(parents=True)
            source = bundle.graph(name, engine)
            shutil.copyfile(source, version / "model.onnx")
            # Graphs name the file of their weights, which lies beside them.
            for extra in bundle.manifest.files:
                if extra.startswith(f"{source.name}."):
                    shutil.copyfile(bundle.path / extra, version / extra)
        for name, text in texts.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / CONFIG).write_text(text)
            # Triton wants a version of an ensemble too, though nothing is in it.
            (folder / name / "1").mkdir(exist_ok=True)
        folder.rename(out)
    return out


def configs(manifest: Manifest, settings: TritonSettings | None = None) -> dict[str, str]:
    """Model -> its `config.pbtxt`, of every graph and of an ensemble for every decoder.

    Raises:
        InputError: a tensor has a type that Triton has not, or a graph has a name that no folder may have.
    """
    settings = settings or TritonSettings()
    for name in manifest.graphs:
        if not NAME.fullmatch(name) or name.startswith("segment"):
            raise InputError(f"a graph is called {name[:80]!r}", hint="export the model again")
    made = {name: _graph_config(manifest, name, settings) for name in manifest.graphs}
    encoder = next(name for name, graph in manifest.graphs.items() if graph.role == "encoder")
    for name in manifest.decoders:
        ensemble = f"segment{name.removeprefix('decoder')}"
        made[ensemble] = _ensemble_config(manifest, ensemble, encoder, name, settings)
    return made


def check_empty(out: Path) -> None:
    """Raise OutputError unless `out` is free or an empty folder."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise OutputError(f"{out} is there already", path=out, hint="choose another --out, or remove it")


def is_batched(graph: Graph) -> bool:
    """Whether Triton may put several requests into one run: all first dimensions are free, and the same."""
    firsts = {spec.shape[0] if spec.shape else 1 for spec in (*graph.inputs, *graph.outputs)}
    return len(firsts) == 1 and isinstance(next(iter(firsts)), str)


def _graph_config(manifest: Manifest, name: str, settings: TritonSettings) -> str:
    graph = manifest.graphs[name]
    batched = is_batched(graph)
    lines = [
        f"name: {_text(name)}",
        f"backend: {_text(BACKEND)}",
        f"max_batch_size: {settings.max_batch if batched else 0}",
        *_tensors("input", graph.inputs, batched),
        *_tensors("output", graph.outputs, batched),
        f"instance_group [ {{ count: {settings.instances} }} ]",
    ]
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY_US} }}")
    about = {"model_id": manifest.model_id, "licence": manifest.licence, "role": graph.role}
    if graph.role == "encoder":
        # What a client does with a camera's frame before it sends it.
        about["input_size"] = json.dumps(asdict(manifest.input_size))
        about["preprocess"] = json.dumps(asdict(manifest.preprocess))
    return _whole(lines, about)


def _ensemble_config(
    manifest: Manifest, name: str, encoder: str, decoder: str, settings: TritonSettings
) -> str:
    first, second = manifest.graphs[encoder], manifest.graphs[decoder]
    given = {spec.name for spec in first.outputs}
    asked = [*first.inputs, *(spec for spec in second.inputs if spec.name not in given)]
    batched = is_batched(first) and is_batched(second)
    passed = [spec.name for spec in first.outputs if spec.name in {spec.name for spec in second.inputs}]
    lines = [
        f"name: {_text(name)}",
        'platform: "ensemble"',
        f"max_batch_size: {settings.max_batch if batched else 0}",
        *_tensors("input", asked, batched),
        *_tensors("output", second.outputs, batched),
        "ensemble_scheduling {",
        *_step(encoder, [spec.name for spec in first.inputs], passed),
        *_step(decoder, [spec.name for spec in second.inputs], [spec.name for spec in second.outputs]),
        "}",
    ]
    return _whole(lines, {"model_id": manifest.model_id, "licence": manifest.licence})


def _step(model: str, inputs: Sequence[str], outputs: Sequence[str]) -> Iterator[str]:
    """One model of an ensemble, whose tensors have the names that they have in the graphs."""
    yield f"  step {{\n    model_name: {_text(model)}\n    model_version: -1"
    for kind, names in (("input_map", inputs), ("output_map", outputs)):
        for name in names:
            yield f"    {kind} {{ key: {_text(name)} value: {_text(name)} }}"
    yield "  }"


def _tensors(kind: str, specs: Sequence[TensorSpec], batched: bool) -> Iterator[str]:
    for spec in specs:
        if spec.dtype not in TYPES:
            raise InputError(
                f"{spec.name} is {spec.dtype}, which Triton has not", hint="export the model again"
            )
        sides = spec.shape[1:] if batched else spec.shape
        dims = ", ".join("-1" if isinstance(side, str) else str(side) for side in sides)
        # A tensor of one number a request: Triton allows no empty shape, and takes the dimension away again.
        shape = f"dims: [ {dims} ]" if sides else "dims: [ 1 ] reshape { shape: [ ] }"
        yield f"{kind} {{ name: {_text(spec.name)} data_type: {TYPES[spec.dtype]} {shape} }}"


def _whole(lines: Sequence[str], about: Mapping[str, str]) -> str:
    parameters = [
        f"parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}"
        for key, value in about.items()
    ]
    return "\n".join(["# Written by sam-edge triton.", *lines, *parameters]) + "\n"


def _text(value: str) -> str:
    """A quoted string of protobuf's text format, whose escapes JSON's are a part of."""
    return json.dumps(value, ensure_ascii=False)


def _engine(bundle: Bundle, precision: Precision) -> EngineSpec | None:
    """Which graphs are taken; None: the FP32 ones that all engines are made from."""
    engine = EngineSpec(BACKEND, precision)
    for key, document in bundle.manifest.fidelity.items():
        runtime, _, measured = key.rpartition("-")
        is_this = runtime.partition(":")[0] == BACKEND and measured == precision
        if is_this and FidelityResult.from_document(document).passed is False:
            raise FidelityError(f"{key} of {bundle.path} does not compute what the model computes")
    if precision == "fp32":
        return None
    if engine.graphs_key not in bundle.manifest.engines:
        raise InputError(
            f"{bundle.path} has no {precision} graphs for {BACKEND}",
            path=bundle.path,
            hint=f"export it with --target {BACKEND} --precision {precision}",
        )
    return engine


@contextmanager
def _folder_for(out: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `out`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(out.parent, f".{out.name}-triton-") as folder:
            yield folder
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}", path=out, hint="choose another --out"
        ) from error
