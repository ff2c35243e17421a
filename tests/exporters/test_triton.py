"""The model repository is what Triton reads, and its ensembles compute what the model computes.

Triton's own schema comes with its client: `tritonclient` holds the compiled `model_config.proto`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import Graph, Manifest
from sam_edge.cli import main
from sam_edge.errors import FidelityError, InputError, OutputError
from sam_edge.exporters.triton import TritonSettings, configs, write_repository
from sam_edge.tensors import TensorSpec
from tests.toy_model import toy_bundle

Tensors = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def schema() -> Any:
    """Triton's `ModelConfig`. Loaded by its path: the package around it needs gRPC."""
    try:
        listed = files("tritonclient") or []
    except PackageNotFoundError:
        pytest.skip("tritonclient is not installed")
    (found,) = [file for file in listed if file.parts[-2:] == ("grpc", "model_config_pb2.py")]
    spec = importlib.util.spec_from_file_location("triton_model_config_pb2", str(found.locate()))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.ModelConfig


@pytest.fixture(scope="module", params=["nano", "toy"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return find_bundle("nano") if request.param == "nano" else toy_bundle(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def repository(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(bundle, tmp_path_factory.mktemp("triton") / "models")


def read(schema: Any, repository: Path) -> dict[str, Any]:
    """Model -> its configuration; the text format refuses fields that the schema has not."""
    found = {}
    for folder in repository.iterdir():
        found[folder.name] = text_format.Parse((folder / "config.pbtxt").read_text(), schema())
    return found


def test_every_folder_is_a_model_that_the_schema_knows(schema: Any, bundle: Bundle, repository: Path) -> None:
    models = read(schema, repository)
    ensembles = {name for name, config in models.items() if config.platform == "ensemble"}
    assert models.keys() - ensembles == bundle.manifest.graphs.keys()
    assert len(ensembles) == len(bundle.manifest.decoders)
    for name, config in models.items():
        assert config.name == name
        assert (repository / name / "1").is_dir()
        assert config.parameters["model_id"].string_value == bundle.manifest.model_id


def test_graphs_are_described_as_onnxruntime_sees_them(schema: Any, bundle: Bundle, repository: Path) -> None:
    types = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
    names = schema.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"].enum_type
    for name in bundle.manifest.graphs:
        config = read(schema, repository)[name]
        session = onnxruntime.InferenceSession(
            repository / name / "1/model.onnx", providers=["CPUExecutionProvider"]
        )
        assert (config.backend, config.max_batch_size) == ("onnxruntime", 0)
        for said, seen in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            assert [one.name for one in said] == [one.name for one in seen]
            for one, other in zip(said, seen, strict=True):
                assert names.values_by_number[one.data_type].name == types[other.type]
                assert list(one.dims) == [side if isinstance(side, int) else -1 for side in other.shape]


def run_ensemble(schema: Any, repository: Path, name: str, given: Tensors) -> Tensors:
    """What Triton does: step after step, tensors by the names of the maps."""
    models = read(schema, repository)
    config = models[name]
    assert {one.name for one in config.input} == given.keys()
    for one in config.input:
        fit(one.dims, given[one.name].shape)
    tensors = dict(given)
    for step in config.ensemble_scheduling.step:
        session = onnxruntime.InferenceSession(
            repository / step.model_name / "1/model.onnx", providers=["CPUExecutionProvider"]
        )
        inner = models[step.model_name]
        assert {one.name for one in inner.input} == set(step.input_map)
        feeds = {theirs: tensors[ours] for theirs, ours in step.input_map.items()}
        answers = session.run(list(step.output_map), feeds)
        tensors |= dict(zip(step.output_map.values(), answers, strict=True))
    for one in config.output:
        fit(one.dims, tensors[one.name].shape)
    return {one.name: tensors[one.name] for one in config.output}


def fit(dims: Any, shape: tuple[int, ...]) -> None:
    assert len(dims) == len(shape)
    assert all(wanted in (-1, got) for wanted, got in zip(dims, shape, strict=True))


def test_an_ensemble_computes_what_its_graphs_compute_one_by_one(
    schema: Any, bundle: Bundle, repository: Path
) -> None:
    rng = np.random.default_rng(1)
    encoder = bundle.manifest.graphs["encoder"]
    width, height = 512, 512
    image = rng.normal(size=(1, 3, height, width)).astype(np.float32)
    for name, decoder in bundle.manifest.decoders.items():
        given = {"image": image}
        own = session_of(bundle, "encoder").run(None, {"image": image})
        encoded = dict(zip([spec.name for spec in encoder.outputs], own, strict=True))
        for spec in decoder.inputs:
            if spec.name not in encoded:
                given[spec.name] = prompt_tensor(spec, rng)
        feeds = {spec.name: {**encoded, **given}[spec.name] for spec in decoder.inputs}
        expected = session_of(bundle, name).run(None, feeds)
        ensemble = f"segment{name.removeprefix('decoder')}"
        answer = run_ensemble(schema, repository, ensemble, given)
        for spec, array in zip(decoder.outputs, expected, strict=True):
            np.testing.assert_array_equal(answer[spec.name], array)


def session_of(bundle: Bundle, name: str) -> Any:
    return onnxruntime.InferenceSession(bundle.graph(name), providers=["CPUExecutionProvider"])


def prompt_tensor(spec: TensorSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    """Two prompts where a graph takes many."""
    named = {"prompts": 2, "8*rows": 128, "8*columns": 128}
    shape = [named[side] if isinstance(side, str) else side for side in spec.shape]
    if spec.name == "point_labels":
        labels = np.full(shape, -2, np.float32)
        labels[:, 0] = 1
        return labels
    if spec.name == "point_coords":
        return rng.uniform(0, 500, shape).astype(np.float32)
    return np.zeros(shape, np.float32)


def test_graphs_with_a_batch_dimension_are_batched(schema: Any) -> None:
    manifest = find_bundle("nano").manifest
    batched = replace(manifest, graphs={name: with_batch(graph) for name, graph in manifest.graphs.items()})
    found = {
        name: text_format.Parse(text, schema())
        for name, text in configs(batched, TritonSettings("fp32", instances=2, max_batch=16)).items()
    }
    for name, config in found.items():
        assert config.max_batch_size == 16
        assert config.HasField("dynamic_batching") == (config.platform != "ensemble")
        assert name.startswith("segment") or config.instance_group[0].count == 2
    assert list(found["encoder"].input[0].dims) == [3, -1, -1]
    # Of one number a prompt nothing is left but the batch, which Triton does not take as a shape.
    (has_mask,) = [one for one in found["decoder"].input if one.name == "has_mask"]
    assert (list(has_mask.dims), has_mask.HasField("reshape"), list(has_mask.reshape.shape)) == ([1], True, [])


def with_batch(graph: Graph) -> Graph:
    def free(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, shape=("batch", *spec.shape[1:])) for spec in specs)

    return replace(graph, inputs=free(graph.inputs), outputs=free(graph.outputs))


def test_what_a_client_needs_for_a_frame_is_told(schema: Any, repository: Path) -> None:
    parameters = read(schema, repository)["encoder"].parameters
    assert '"mean"' in parameters["preprocess"].string_value
    assert '"long_side"' in parameters["input_size"].string_value


@pytest.mark.parametrize("text", ['a "b" \\ c', "Apache\tütf", "x'y"])
def test_any_words_arrive_whole(schema: Any, text: str) -> None:
    manifest = replace(find_bundle("nano").manifest, licence=text)
    for config in configs(manifest).values():
        assert text_format.Parse(config, schema()).parameters["licence"].string_value == text


@pytest.mark.parametrize("name", ["../decoder", "a/b", "", "segment", ".decoder"])
def test_a_graph_cannot_name_a_place_elsewhere(name: str) -> None:
    manifest = find_bundle("nano").manifest
    graphs = {name if key == "decoder" else key: graph for key, graph in manifest.graphs.items()}
    with pytest.raises(InputError, match="a graph is called"):
        configs(replace(manifest, graphs=graphs))


def test_a_type_that_triton_has_not_is_refused() -> None:
    manifest = find_bundle("nano").manifest
    encoder = manifest.graphs["encoder"]
    odd = replace(encoder, inputs=(replace(encoder.inputs[0], dtype="complex64"),))
    with pytest.raises(InputError, match="complex64"):
        configs(replace(manifest, graphs={**manifest.graphs, "encoder": odd}))


def test_half_graphs_are_taken_or_said_to_be_missing(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    with pytest.raises(InputError, match="--precision fp16"):
        write_repository(bundle, tmp_path / "out", TritonSettings("fp16"))
    manifest = replace(bundle.manifest, engines={"onnxruntime-fp16": {"encoder": "decoder.onnx"}})
    written = write_repository(Bundle(bundle.path, manifest), tmp_path / "out", TritonSettings("fp16"))
    half = (written / "encoder/1/model.onnx").read_bytes()
    assert half == (bundle.path / "decoder.onnx").read_bytes()


def test_an_engine_that_failed_is_not_served(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    failed = failing(bundle.manifest)
    with pytest.raises(FidelityError, match="onnxruntime:cpu-fp32"):
        write_repository(Bundle(bundle.path, failed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def failing(manifest: Manifest) -> Manifest:
    return replace(manifest, fidelity={"onnxruntime:cpu-fp32": {"mask_iou_mean": 0.5, "passed": 0.0}})


def test_what_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(OutputError, match="is there already"):
        write_repository(find_bundle("nano"), out)
    assert main(["triton", "nano", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert [file.name for file in out.iterdir()] == ["mine"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["triton", "nano", "--out", str(tmp_path / "models")]) == 0
    assert "encoder, decoder, decoder_many, segment, segment_many" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
    assert main(["triton", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert "is not a model" in capsys.readouterr().err


def test_an_export_for_triton_says_which_command_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "x.pth", "--out", str(tmp_path / "x"), "--target", "onnxruntime,triton"]
    assert main(arguments) == 2
    assert "sam-edge triton" in capsys.readouterr().err
