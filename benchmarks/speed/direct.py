"""Engines called through their own libraries, as a program without ours would: what ours is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.geometry import View
from sam_edge.imaging.image import crop_and_resize, encoder_input
from sam_edge.lazy import import_object
from sam_edge.tensors import Arrays

Outputs = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Direct:
    """A model's engines without our API around them; both answer with the outputs in the graph's order."""

    encode: Callable[[NDArray[np.uint8]], Outputs]
    """Takes an image (H, W, 3) uint8 RGB."""
    decode: Callable[[Arrays], Outputs]
    """Takes the decoder's inputs ready-made."""


@dataclass(frozen=True)
class Sample:
    """What both sides are given."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    view: View
    decoder_feeds: Arrays


def onnxruntime(bundle: Bundle, sample: Sample, threads: int) -> Direct:
    """Sessions on the processor; the image becomes the encoder's input before it, as on our side."""
    import onnxruntime as ort

    def session(graph: Path) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    encoder, decoder = session(bundle.graph("encoder")), session(bundle.graph("decoder"))
    view, preprocess = sample.view, bundle.manifest.preprocess

    def encode(image: NDArray[np.uint8]) -> Outputs:
        answer: Outputs = encoder.run(None, {"image": encoder_input(image, view, preprocess)})
        return answer

    def decode(feeds: Arrays) -> Outputs:
        answer: Outputs = decoder.run(None, feeds)
        return answer

    return Direct(encode, decode)


def openvino(bundle: Bundle, sample: Sample, threads: int) -> Direct:
    """Requests of compiled models; normalisation and padding are part of the encoder, as on our side."""
    # Ours comes first: it imports OpenVINO without its reports to its maker.
    fold = import_object("sam_edge.runtimes.openvino.preprocess:fold_preprocess")
    import openvino as ov

    core = ov.Core()
    view, preprocess = sample.view, bundle.manifest.preprocess
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }

    def request(model: ov.Model) -> ov.InferRequest:
        return core.compile_model(model, "CPU", config).create_infer_request()

    dtype = crop_and_resize(sample.image, view, preprocess).dtype
    encoder = request(fold(core.read_model(str(bundle.graph("encoder"))), preprocess, view, dtype))
    model = core.read_model(str(bundle.graph("decoder")))
    if model.is_dynamic():
        model.reshape({name: list(value.shape) for name, value in sample.decoder_feeds.items()})
    decoder = request(model)

    def encode(image: NDArray[np.uint8]) -> Outputs:
        pixels = np.ascontiguousarray(crop_and_resize(image, view, preprocess))[None]
        return _values(encoder.infer([pixels], share_inputs=True, share_outputs=True))

    def decode(feeds: Arrays) -> Outputs:
        return _values(decoder.infer(feeds, share_inputs=True, share_outputs=True))

    return Direct(encode, decode)


def _values(answer: Mapping[Any, NDArray[Any]]) -> Outputs:
    return list(answer.values())


DIRECT: Mapping[str, Callable[[Bundle, Sample, int], Direct]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}
