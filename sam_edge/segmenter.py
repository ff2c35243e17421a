"""Encoder and decoder together: an image becomes an embedding, a prompt on it becomes masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest, Precision
from sam_edge.errors import FidelityError, InputError, PlanError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, check_image, encoder_input, image_wh, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.lazy import import_object
from sam_edge.masks import Masks, choose_multimask
from sam_edge.prompt import Prompt
from sam_edge.sessions.backends import (
    FrameSession,
    Session,
    SessionLoader,
    check_graphs,
    find_backend,
    find_loader,
)
from sam_edge.tensors import Arrays

MASK_STRIDE = 4
"""Input pixels per logit, in every model of the family."""
MAX_THREADS = 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the encoder makes of one frame. Any prompt can meet it, on any thread, any number of times."""

    tensors: Arrays
    """The encoder's outputs by name; `embedding` is (1, channels, h, w)."""
    view: View
    """Which part of the frame was seen, and at which size."""
    capture_ns: int
    """When the frame was taken, on the clock of whoever gave it."""
    model_id: str
    """The model that made it; no other can decode it."""


class Segmenter:
    """A model on a runtime. `encode` once a frame, `decode` once a prompt; neither changes the segmenter.

    The engines of every frame and every gaze point are opened at once, the rarer ones when they are first
    needed: a program that never gives a mask prompt never pays for that graph.
    """

    def __init__(
        self,
        bundle: Bundle,
        loader: SessionLoader,
        *,
        threads: int | None = None,
        engine: EngineSpec | None = None,
    ) -> None:
        self.engine = engine
        """Whose graphs are opened; None: the sources."""
        self._bundle = bundle
        self._open = loader
        self._threads = threads
        self._engines: dict[str, Session] = {}
        self._opening = Lock()
        self._decoders = _decoders(bundle.manifest)
        try:
            for graph in ("encoder", self._decoders[0][1]):
                self._engine(graph)
        except BaseException:
            # The room that one engine takes may be what the other one lacks; a second try must find it free.
            self.close()
            raise

    @property
    def manifest(self) -> Manifest:
        """What is known about the model."""
        return self._bundle.manifest

    @property
    def max_points(self) -> int:
        """How many points a prompt may have beside a box."""
        return self._decoders[-1][0] - 2

    @property
    def takes_masks(self) -> bool:
        """Whether an earlier mask can be part of a prompt."""
        graphs = self.manifest.graphs
        return "refine" in graphs or any(spec.name == "mask_logits" for spec in graphs["decoder"].inputs)

    def decoder_for(self, prompt: Prompt) -> tuple[int, str]:
        """Slots and name of the graph that answers a prompt: the smallest that holds it."""
        fitting = (decoder for decoder in self._decoders if decoder[0] >= prompt.tokens)
        return next(fitting, self._decoders[-1])

    def view(self, frame_wh: tuple[int, int], window_xywh: tuple[int, int, int, int] | None = None) -> View:
        """How this model sees a frame of that size (width, height), or a window of it."""
        return self.manifest.input_size.view(frame_wh, window_xywh)

    def encode(
        self,
        image: NDArray[np.uint8],
        view: View | None = None,
        *,
        layout: Layout = "rgb",
        capture_ns: int = 0,
    ) -> Embedding:
        """Run the encoder on a frame, uint8: (H, W, 3) RGB or BGR, or (H * 3 / 2, W) NV12 (see `Layout`).

        A camera's own layout is the cheapest: an engine may convert it on its device.

        Raises:
            InputError: not such an array, or a view of a frame of another size.
        """
        image = check_image(image, layout=layout)
        frame_wh = image_wh(image, layout)
        view = view or self.view(frame_wh)
        if view.frame_wh != frame_wh:
            raise InputError(f"the view is for frames of {view.frame_wh}, the image is {frame_wh}")
        self.manifest.input_size.check(view)
        tensors = _features(self._engine("encoder"), image, view, self.manifest.preprocess, layout)
        return Embedding(tensors, view, capture_ns, self.manifest.model_id)

    def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
        """Masks of what the prompt shows: three, or one if `multimask` is False.

        By default one point or one box, which is ambiguous, gets three masks, and more gets one.

        Raises:
            InputError: a prompt outside the frame, with too many points, with a mask of another shape
                or where the model takes none; an embedding of another model.
        """
        if embedding.model_id != self.manifest.model_id:
            raise InputError(
                f"the embedding is of {embedding.model_id}, this model is {self.manifest.model_id}",
                hint="encode the frame again",
            )
        prompt.check_inside(embedding.view)
        slots, name = self.decoder_for(prompt)
        feeds = dict(embedding.tensors)
        feeds["point_coords"], feeds["point_labels"] = prompt.slots(embedding.view, slots)
        feeds |= self._mask_feeds(embedding, prompt)
        engine = self._engine(name)
        answer = engine.run({spec.name: feeds[spec.name] for spec in engine.inputs})
        if multimask is None:
            multimask = choose_multimask(prompt.tokens)
        # Of the decoder's four masks the first is for unambiguous prompts, the others for ambiguous ones.
        picked = slice(1, None) if multimask else slice(0, 1)
        return Masks(answer["logits"][0, picked], answer["iou"][0, picked], embedding.view)

    def decode_batch(
        self, embedding: Embedding, prompts: Iterable[Prompt], *, multimask: bool | None = None
    ) -> list[Masks]:
        """Masks of each prompt on the same frame."""
        return [self.decode(embedding, prompt, multimask=multimask) for prompt in prompts]

    def close(self) -> None:
        """Give the engines' memory back."""
        while self._engines:
            self._engines.popitem()[1].close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _engine(self, graph: str) -> Session:
        engine = self._engines.get(graph)
        if engine is None:
            with self._opening:
                engine = self._engines.get(graph)
                if engine is None:
                    engine = self._open(self._bundle.graph(graph, self.engine), self._threads)
                    self._engines[graph] = engine
        return engine

    def _mask_feeds(self, embedding: Embedding, prompt: Prompt) -> Arrays:
        """The tensors by which a mask prompt, or its absence, reaches the decoder."""
        width, height = (side // MASK_STRIDE for side in embedding.view.input_wh)
        logits = prompt.mask_logits
        if logits is not None and not self.takes_masks:
            raise InputError(f"{self.manifest.name} takes no mask prompt", hint="give points or a box")
        if logits is not None and logits.shape != (height, width):
            raise InputError(
                f"mask logits have shape {logits.shape}: this frame's are {(height, width)}, "
                "pass the low-resolution logits of an earlier answer on it"
            )
        if "refine" in self.manifest.graphs:
            if logits is None:
                return {}
            # A mask changes what every image token starts from: that part is made anew.
            feeds = {"embedding": embedding.tensors["embedding"], "mask_logits": logits[None, None]}
            return self._engine("refine").run(feeds)
        if logits is None:
            logits = np.zeros((height, width), np.float32)
        has_mask = np.array([prompt.mask_logits is not None], np.float32)
        return {"mask_logits": logits[None, None], "has_mask": has_mask}


def load(
    model: str | Path = "nano",
    *,
    runtime: str | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
) -> Segmenter:
    """Open a shipped model by name, or an exported model folder.

    TensorRT plans that are missing, or no longer fit, are built first, which takes minutes: why, and every
    step, is logged as a warning. `sam-edge build` does it beforehand.

    Args:
        model: a name such as "nano", or the folder that `sam-edge export` wrote.
        runtime: such as "onnxruntime" or "openvino:GPU"; None takes the best one this machine has.
        precision: "fp32", or "fp16" if the folder was exported so for this runtime; None takes fp16 if
            there is such an engine and it is not known to fail here.
        threads: how many cores an engine may use; None leaves it to the runtime.

    Raises:
        BundleError: no such model, or it is damaged.
        InputError: no such runtime, or the folder has no engine of that precision for it.
        MissingExtraError: the runtime's library is not installed.
        FidelityError: this engine computes something else on this runtime: `sam-edge verify` found it, or
            the comparison with PyTorch's answers that follows a build.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads is {threads}", hint=f"give 1 to {MAX_THREADS}")
    bundle = find_bundle(model)
    name, loader = find_loader(runtime)
    engine = choose_engine(bundle, name, precision)
    try:
        # Now, and not in the middle of a stream: building takes minutes.
        late = bundle.manifest.graphs.keys() - {"encoder", _decoders(bundle.manifest)[0][1]}
        check_graphs(name, (bundle.graph(graph, engine) for graph in sorted(late)))
        return Segmenter(bundle, loader, threads=threads, engine=engine)
    except PlanError as error:
        prepare = find_backend(name).prepare
        if prepare is None:
            raise
        _log.warning("%s", error.what)
        import_object(prepare)(bundle, engine, loader, _log.warning)
    return Segmenter(bundle, loader, threads=threads, engine=engine)


def choose_engine(bundle: Bundle, runtime: str, precision: Precision | None) -> EngineSpec:
    """The engine of a model for a runtime NAME:DEVICE.

    Raises:
        InputError: the folder has none of that precision for it.
        FidelityError: it is known to fail the gate on that runtime.
    """
    manifest = bundle.manifest
    half = EngineSpec(runtime, "fp16")
    has_half = half.graphs_key in manifest.engines
    if precision == "fp16" and not has_half:
        name = runtime.partition(":")[0]
        raise InputError(
            f"{bundle.path} has no fp16 engine for {name}",
            path=bundle.path,
            hint=f"leave precision out, or export the weights with --target {name} --precision fp16",
        )
    engine = half if has_half and precision != "fp32" else EngineSpec(runtime)
    if precision is None and engine is half and not passed(manifest.measured(half)):
        engine = EngineSpec(runtime)
    if not passed(manifest.measured(engine)):
        raise FidelityError(
            f"{bundle.path} on {engine} failed sam-edge verify",
            path=bundle.path,
            hint="choose another --runtime or --precision, or export the model again",
        )
    return engine


def passed(found: Mapping[str, float] | None) -> bool:
    """Whether nothing is known against an engine."""
    return found is None or found.get("passed", 1.0) == 1.0


def _features(
    engine: Session, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout
) -> Arrays:
    # isinstance of a Protocol would look at every member, which takes a tenth of a millisecond.
    if hasattr(engine, "run_frame"):
        return cast(FrameSession, engine).run_frame(image, view, preprocess, layout)
    return engine.run({"image": encoder_input(to_rgb(image, layout), view, preprocess)})


def _decoders(manifest: Manifest) -> list[tuple[int, str]]:
    """Slots and names, the smallest first."""
    return sorted((_slots(manifest, name), name) for name in manifest.graphs if "decoder" in name)


def _slots(manifest: Manifest, graph: str) -> int:
    (labels,) = (spec for spec in manifest.graphs[graph].inputs if spec.name == "point_labels")
    return int(labels.shape[-1])
