"""An exported folder computes what PyTorch computes, and is written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.torch
import torch

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.cli.engine_line import engine_line
from sam_edge.errors import CheckpointError, EngineError, FidelityError, InputError, OutputError
from sam_edge.exporters import engines, gating, onnx_graph
from sam_edge.exporters import export as export_module
from sam_edge.exporters.engines import Fp16Model
from sam_edge.exporters.export import ExportSettings, export
from sam_edge.exporters.half.weights import halve_weights
from sam_edge.exporters.onnx_graph import describe_graph, write_graph
from sam_edge.exporters.pytorch_answers import references
from sam_edge.fidelity.images import textured_image
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.imaging.image import write_image
from sam_edge.loading import load
from sam_edge.modeling.exportable import BATCH, PROMPTS, GraphSource
from sam_edge.modeling.nano import export as nano_export
from sam_edge.modeling.nano.export import NanoExport
from sam_edge.modeling.nano.model import build_nano
from sam_edge.modeling.sam_export import SLOTS, SamExport
from sam_edge.prompt import Prompt
from sam_edge.storage.files import sha256
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import GRID, SIDE_PX, TINY, tiny_sam


def test_manifest_says_what_the_model_is(tiny_bundle: Path, tiny_checkpoint: Path) -> None:
    manifest = find_bundle(tiny_bundle).manifest
    assert (manifest.name, manifest.family) == ("tiny_model", "tiny")
    assert manifest.checkpoint_sha256 == sha256(tiny_checkpoint)
    assert set(manifest.graphs) == {"encoder", "decoder", "decoder_many", "decoder_batch", "refine"}
    assert set(manifest.files) == {"pytorch.npz", *(f"{name}.onnx" for name in manifest.graphs)}
    assert {graph.role for graph in manifest.graphs.values()} == {"encoder", "decoder", "refine"}
    assert {name: graph.slots for name, graph in manifest.decoders.items()} == SLOTS | {BATCH: SLOTS["decoder"]}
    assert [name for name, graph in manifest.decoders.items() if graph.is_batched] == [BATCH]
    for name, slots in SLOTS.items():
        shapes = {spec.name: spec.shape for spec in manifest.graphs[name].inputs}
        assert shapes["point_labels"] == (1, slots)
        assert shapes["tokens"] == (1, GRID[0] * GRID[1], 32)
    assert [spec.name for spec in manifest.graphs["decoder"].outputs] == ["logits", "iou"]
    assert set(manifest.tools) >= {"torch", "onnx", "onnxruntime", "sam-edge"}
    found = manifest.fidelity["onnxruntime:cpu-fp32"]
    assert set(found) >= set(vars(LIMITS["fp32"]))
    assert (found["passed"], found["against_onnx"]) == (1, 0)
    assert 0 < found["embedding_max"] < 1e-3
    assert manifest.engines == {}


def test_answers_are_pytorchs(tiny_bundle: Path) -> None:
    image = np.random.default_rng(5).integers(0, 256, (96, SIDE_PX, 3), dtype=np.uint8)
    (expected,) = references(SamExport(tiny_sam()), TINY, [image], SLOTS["decoder_many"] - 2)
    with load(tiny_bundle, runtime="onnxruntime") as segmenter:
        embedding = segmenter.encode(image)
        assert np.abs(np.asarray(embedding.tensors["embedding"])[0] - expected.embedding).max() < 1e-4
        for answer in expected.answers:
            masks = segmenter.decode(embedding, answer.prompt, multimask=answer.multimask)
            assert np.abs(masks.logits - answer.logits).max() < 1e-4
            assert np.abs(masks.predicted_iou - answer.predicted_iou).max() < 1e-4
    asked = {(len(answer.predicted_iou), answer.prompt.tokens > 2) for answer in expected.answers}
    assert asked == {(1, False), (3, False), (1, True), (3, True)}


def test_graphs_are_portable_and_tell_nothing_of_this_machine(tiny_bundle: Path) -> None:
    graphs = list(tiny_bundle.glob("*.onnx"))
    assert len(graphs) == 5
    for path in graphs:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert "Attention" not in {node.op_type for node in model.graph.node}
        assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
        graph = describe_graph(path, "decoder")
        shapes = [spec.shape for spec in (*graph.inputs, *graph.outputs)]
        free = {side for shape in shapes for side in shape if isinstance(side, str)}
        assert free == ({PROMPTS} if path.stem == BATCH else set())


def test_a_model_that_differs_is_not_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(source: GraphSource, folder: Path) -> Path:
        path = kept_graph(source, folder)
        if source.name == "decoder_many":
            model = onnx.load(path)
            tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
            tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(1.5)).tobytes()
            onnx.save(model, path)
        return path

    monkeypatch.setattr(export_module, "write_graph", spoiled)
    with pytest.raises(FidelityError, match=r"cpu fp32 differs .*logits_rms .* nothing was written$"):
        export(tiny_checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    # PyTorch is asked in float64, and its float32 is not what is to blame, until it is.
    monkeypatch.setattr(export_module, "float64_mask_iou", lambda *_: 0.87654)
    with pytest.raises(FidelityError, match=r"too steep for float32: .* mean IoU of 0\.8765 only"):
        export(tiny_checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_this_machine_chooses_is_compared_too(tiny_bundle: Path) -> None:
    """The next command opens it, and should not say that nobody has verified it."""
    with load(tiny_bundle) as segmenter:
        assert segmenter.engine is not None
        assert segmenter.manifest.measured(segmenter.engine)
        assert "against PyTorch" in engine_line(segmenter.manifest, segmenter.engine)


@pytest.mark.parametrize("error", [None, EngineError("no driver")])
def test_a_default_that_nobody_asked_for_stops_no_export(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: EngineError | None
) -> None:
    real = engines.measure_engine

    def measure_engine(bundle: Bundle, engine: EngineSpec, *others: Any) -> FidelityResult:
        if engine.runtime != "openvino:GPU":
            found: FidelityResult = real(bundle, engine, *others)
            return found
        if error:
            raise error
        return FidelityResult(mask_iou_mean=0.5)

    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    monkeypatch.setattr(gating, "measure_engine", measure_engine)
    monkeypatch.setattr(gating, "chosen_here", lambda: "openvino:GPU")
    warnings: list[str] = []
    manifest = find_bundle(export(tiny_checkpoint, tmp_path / "out", warnings=warnings)).manifest
    (line,) = warnings
    assert "openvino:GPU fp32" in line
    assert manifest.fidelity["onnxruntime:cpu-fp32"]["passed"] is True
    if error:
        assert "no driver" in line
        assert manifest.measured(EngineSpec("openvino:GPU")) is None
    else:
        assert "mask_iou_mean 0.5" in line
        assert manifest.fidelity["openvino:GPU-fp32"]["passed"] is False


def test_the_larger_decoder_is_as_wide_as_asked(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    folder = export(tiny_checkpoint, tmp_path / "wide", settings=ExportSettings(max_points=30))
    assert [graph.slots for graph in find_bundle(folder).manifest.decoders.values()] == [2, 2, 32]
    points = [(2.0 * index, 3.0 * index % 90) for index in range(30)]
    with load(folder, runtime="onnxruntime") as segmenter:
        assert segmenter.max_points == 30
        embedding = segmenter.encode(textured_image((SIDE_PX, 96)))
        many = segmenter.decode(embedding, Prompt.points(points, box=(2, 2, 80, 80)))
        assert many.logits.shape[0] == 1
    (nano_encoder, *decoders) = NanoExport(build_nano(fused=True)).graphs(max_points=40)
    assert nano_encoder.role == "encoder"
    assert [source.inputs["point_labels"].shape[1] for source in decoders] == [7, 42]


def test_an_export_clears_what_a_killed_one_left(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sam_edge.storage.folders import temporary_folder\n"
        "with temporary_folder(Path(sys.argv[1]), '.out-export-'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out-export-")
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    monkeypatch.setattr(gating, "chosen_here", lambda: None)
    export(tiny_checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_wrong_size_is_refused_before_the_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "load_model", lambda *_: pytest.fail("read"))
    monkeypatch.chdir(tmp_path)
    for input_wh in ((1024, 1040), (2048, 1024), (16, 16)):
        with pytest.raises(InputError, match="--input"):
            export(
                tmp_path / "any.pth", tmp_path / "o", "sam_vit_b", settings=ExportSettings(input_wh=input_wh)
            )


def test_half_precision_for_every_target(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(4):
        write_image(tmp_path / "photos" / f"{index}.png", textured_image((96 + 32 * index, 96)))
    settings = ExportSettings(
        targets=("onnxruntime", "tensorrt"), precisions=("fp32", "fp16"), images=tmp_path / "photos", limit=2
    )
    ranged: list[int] = []

    def find_halves(bundle: Bundle, images: Sequence[np.ndarray]) -> Fp16Model:
        ranged.extend(image.shape[1] for image in images)
        halved: Fp16Model = engines.find_halves(bundle, images)
        return halved

    monkeypatch.setattr(gating, "find_halves", find_halves)
    # A machine without TensorRT.
    monkeypatch.setattr(gating, "is_here", lambda runtime: runtime == "onnxruntime")
    monkeypatch.setattr(gating, "chosen_here", lambda: "onnxruntime:cpu")
    linted: list[str] = []
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    monkeypatch.setattr(gating, "check_engine", lambda bundle, engine: [f"{engine} has been seen"])
    folder = export(tiny_checkpoint, tmp_path / "half", settings=settings, warnings=linted)
    assert linted == ["tensorrt fp32 has been seen", "tensorrt fp16 has been seen"]
    # The ranges are found on images that the engines are not checked with: 96 and 160 wide.
    assert ranged == [128, 192]
    manifest = find_bundle(folder).manifest
    assert set(manifest.engines) == {"onnxruntime-fp16", "tensorrt-fp16"}
    assert manifest.engines["tensorrt-fp16"]["decoder"] == "decoder.tensorrt.fp16.onnx"
    # What was not run is not said to have passed.
    assert set(manifest.fidelity) == {"onnxruntime:cpu-fp32", "emulation-fp16", "onnxruntime:cpu-fp16"}
    for name in ("emulation-fp16", "onnxruntime:cpu-fp16"):
        found = manifest.fidelity[name]
        assert found["passed"] == 1
        assert found["mask_iou_mean"] >= 0.995
        assert found["images"] == 2
    assert manifest.fidelity["emulation-fp16"]["embedding_max"] > 1e-5
    assert {file.name for file in folder.iterdir()} == {"manifest.json", *manifest.files}
    for graph in manifest.graphs:
        half = folder / manifest.engines["tensorrt-fp16"][graph]
        source = manifest.graph_of(half.name)
        assert source == manifest.graphs[graph]
        assert describe_graph(half, source.role) == replace(source, file=half.name)
        assert half.stat().st_size < (folder / f"{graph}.onnx").stat().st_size
    with load(folder, runtime="onnxruntime") as segmenter:
        assert segmenter.engine == EngineSpec("onnxruntime:cpu", "fp16")
    with load(folder, runtime="onnxruntime", precision="fp32") as segmenter:
        assert segmenter.engine == EngineSpec("onnxruntime:cpu")


def test_a_folder_of_something_else_is_left_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not a model"):
        export(tiny_checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_bad_checkpoint_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_text("no weights")
    with pytest.raises(CheckpointError):
        export(tmp_path / "bad.pth", tmp_path / "a" / "b" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_large_weights_go_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "INLINE_BYTES", 1000)
    source = next(item for item in SamExport(tiny_sam()).graphs() if item.name == "refine")
    path = write_graph(source, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"refine.onnx", "refine.onnx.data"}
    assert path.stat().st_size < (tmp_path / "refine.onnx.data").stat().st_size * 5
    assert describe_graph(path, "refine").inputs[0].shape == (1, 32, *GRID)


def test_only_weights_that_float16_holds_are_halved(tmp_path: Path) -> None:
    exact, other = torch.nn.Linear(32, 32), torch.nn.Linear(32, 32)
    layer = torch.nn.Sequential(exact, other).requires_grad_(False)
    exact.weight.copy_(exact.weight.half())
    x = torch.randn(1, 32)
    path = write_graph(GraphSource("decoder", layer, {"input": x}, ("y",)), tmp_path)
    size = path.stat().st_size
    halve_weights(path)
    types = sorted(tensor.data_type for tensor in onnx.load(path).graph.initializer if tensor.dims[0] > 1)
    assert types.count(onnx.TensorProto.FLOAT16) == 1
    assert size - path.stat().st_size > 32 * 32 * 2 - 500
    (y,) = ort.InferenceSession(path).run(None, {"input": x.numpy()})
    assert np.abs(y - layer(x).numpy()).max() < 1e-5


def test_weights_that_are_halved_leave_no_file_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(64, 64).requires_grad_(False)
    layer.weight.copy_(layer.weight.half())
    monkeypatch.setattr(onnx_graph, "INLINE_BYTES", 1000)
    path = write_graph(GraphSource("decoder", layer, {"input": torch.randn(1, 64)}, ("y",)), tmp_path)
    assert (tmp_path / "decoder.onnx.data").is_file()
    halve_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == ["decoder.onnx"]


@pytest.mark.slow
def test_nano_keeps_height_and_width_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One decoder for all prompts: those of nano are one module, and each takes twenty seconds to trace.
    monkeypatch.setattr(nano_export, "SLOTS", {"decoder": nano_export.SLOTS["decoder_many"]})
    torch.manual_seed(0)
    state = {name: value.half() for name, value in build_nano(fused=True).state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "nano.safetensors")
    steps: list[float] = []

    def progress(step: str, done: float | None = None) -> None:
        steps.append(steps[-1] if done is None else done)

    folder = export(tmp_path / "nano.safetensors", tmp_path / "nano", progress=progress)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["family"] == "nano"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10_000_000
    with load(folder, runtime="onnxruntime") as segmenter:
        for width, height in ((640, 360), (300, 400), (512, 512)):
            image = textured_image((width, height))
            embedding = segmenter.encode(image)
            masks = segmenter.decode(embedding, Prompt.points([(width / 2, height / 2)]))
            assert masks.logits.shape[1:] == tuple(side // 4 for side in embedding.view.input_wh[::-1])
            assert masks.binary.shape[1:] == (height, width)
