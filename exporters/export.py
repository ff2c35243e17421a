"""From a PyTorch checkpoint to a model folder that any runtime opens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from sam_edge.bundle import Bundle, check_target, write_bundle
from sam_edge.errors import OutputError
from sam_edge.files import sha256
from sam_edge.manifest import Manifest, Precision
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.families import find_family

from .fidelity import RUNTIME, check, compare, references
from .half_weights import halve_weights
from .onnx_graph import describe_graph, write_graph

TOOLS = ("sam-edge", "torch", "onnx", "onnxscript", "onnxruntime")

Progress = Callable[[str, float], None]
"""Called with what begins now, and the share of the work that is done, 0..1."""


@dataclass(frozen=True)
class ExportSettings:
    """What is made beside the FP32 graphs, and how it is checked."""

    targets: tuple[str, ...] = ("onnxruntime",)
    """Runtimes that engines are made for."""
    precisions: tuple[Precision, ...] = ("fp32",)
    images: Path | None = None
    """Folder of pictures to calibrate and to check with; None: generated ones."""
    input_wh: tuple[int, int] | None = None
    """Width and height of a rectangular encoder input; None: the family's own."""
    interface: str | None = None
    """`official`: also a decoder with the inputs of segment_anything's ONNX model."""


def export(
    checkpoint: str | Path,
    out: str | Path,
    family: str | None = None,
    name: str | None = None,
    progress: Progress = lambda step, done: None,
    settings: ExportSettings | None = None,
) -> Path:
    """Write a checkpoint as a model folder, after checking that it computes what PyTorch computes.

    Args:
        checkpoint: `.pth`, `.pt` or `.safetensors` with the family's public keys.
        out: the folder to make; an older model there is replaced, nothing else is.
        family: one of `sam_edge.modeling.families.FAMILIES`; None guesses it from the keys.
        name: what the model is called; None takes the folder's name.
        progress: told of every step.
        settings: targets, precisions, input size and interface; None: FP32 for onnxruntime.

    Returns:
        The folder.

    Raises:
        InputError: no such family.
        CheckpointError: the file is no weights, or not of that family.
        FidelityError: an exported graph differs from the model; nothing was written.
        OutputError: the folder holds something else or cannot be written.
    """
    settings = settings or ExportSettings()
    out = Path(out)
    check_target(out)
    with _folder_beside(out) as folder:
        progress("reading weights", 0.0)
        family_name, model = load_model(checkpoint, family)
        spec = find_family(family_name)
        exportable = spec.exportable(model)
        progress("computing the reference", 0.05)
        expected = references(exportable, spec)
        sources = exportable.graphs()
        graphs = {}
        for index, source in enumerate(sources):
            progress(f"exporting {source.name}", 0.2 + 0.5 * index / len(sources))
            path = write_graph(source, folder)
            if spec.half_weights:
                halve_weights(path)
            graphs[source.name] = describe_graph(path)
        # The engines need the room that the model takes.
        del model, exportable, sources, source
        progress(f"comparing with PyTorch in {RUNTIME}", 0.75)
        manifest = Manifest(
            name=name or out.resolve().name,
            family=family_name,
            checkpoint_sha256=sha256(checkpoint),
            licence=spec.licence,
            input_size=spec.input_size,
            preprocess=spec.preprocess,
            graphs=graphs,
            files={file.name: sha256(file) for file in folder.iterdir()},
            tools={tool: version(tool) for tool in TOOLS},
        )
        found = compare(Bundle(folder, manifest), expected)
        check(found)
        progress("writing", 0.95)
        write_bundle(out, replace(manifest, fidelity={RUNTIME: found}), folder)
    progress("done", 1.0)
    return out


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `out`, so that finished files are moved and not copied."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-export-")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    with folder as name:
        yield Path(name)
