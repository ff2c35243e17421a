"""Encoder and decoder together: an image becomes an embedding, a prompt on it becomes masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Graph, Manifest
from sam_edge.decoders import Decoder, Decoders
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, check_image, encoder_input, image_wh, to_rgb
from sam_edge.masks import Masks, choose_multimask
from sam_edge.prompt import Prompt
from sam_edge.sessions.opened import OpenedSessions
from sam_edge.sessions.session import FrameSession, SessionLoader
from sam_edge.tensors import Arrays

MASK_STRIDE = 4
"""Encoder input pixels per logit, in every model of the family."""
WARM_RUNS = 3
"""How often a warm-up runs each graph: an engine may record or plan at the second run of a shape."""


class Segmenter:
    """A model on a runtime. `encode` once a frame, `decode` once a prompt; neither changes the segmenter.

    The encoder and the smallest decoder are opened at once, the other graphs when they are first needed, or by
    `warm_up`. Any number of threads may use it. It belongs to the process that made it: another process opens
    its own.

    Args:
        bundle: the model.
        loader: opens its graphs; `sam_edge.sessions.choice.find_runtime` gives one.
        threads: processor cores each engine may use; None: all for the encoder, at most 4 for the decoders.
        engine: whose graphs are opened; None: the FP32 sources.
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
        self._bundle = bundle
        self._load = loader
        self._opened = OpenedSessions(bundle, loader, threads, engine)
        graphs = bundle.manifest.graphs
        self._encoder = _named_by_role(graphs, "encoder")[0]
        self._refine = next(iter(_named_by_role(graphs, "refine")), None)
        self._decoders = Decoders.of(bundle.manifest)
        try:
            for graph in (self._encoder, self._decoders.all[0].name):
                self._opened.session(graph)
        except BaseException:
            # The memory that one engine takes may be what the other one lacks; a second try must find it free.
            self.close()
            raise

    def __repr__(self) -> str:
        state = ", closed" if self._opened.is_closed else ""
        return f"<Segmenter {self.manifest.model_id} on {self.engine or self._load}{state}>"

    def __reduce__(self) -> NoReturn:
        raise InputError("a Segmenter cannot be pickled", hint="load the model in the process that uses it")

    @property
    def manifest(self) -> Manifest:
        """What is known about the model."""
        return self._bundle.manifest

    @property
    def max_points(self) -> int:
        """How many points a prompt may have beside a box."""
        return self._decoders.max_slots - 2

    @property
    def takes_masks(self) -> bool:
        """Whether an earlier mask can be part of a prompt."""
        graph = self.manifest.graphs[self._decoders.all[0].name]
        return self._refine is not None or any(spec.name == "mask_logits" for spec in graph.inputs)

    def decoder_for(self, prompt: Prompt) -> tuple[int, str]:
        """Slots and name of the graph that answers a prompt alone: the smallest that holds it."""
        decoder = self._decoders.smallest(prompt.tokens)
        return decoder.slots, decoder.name

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
        """Run the encoder on a frame.

        Args:
            image: uint8, of the layout's shape: (H, W, 3) for RGB and BGR, (H * 3 / 2, W) for NV12 (see
                `Layout`). A camera's own layout is the cheapest: an engine may convert it on its device.
            view: which part of the frame is encoded; None: the whole frame.
            layout: how the pixels lie in memory.
            capture_ns: when the frame was taken; kept in the embedding.

        Raises:
            InputError: not such an array, a view of a frame of another size, or a closed segmenter.
        """
        image = check_image(image, layout=layout)
        frame_wh = image_wh(image, layout)
        view = view or self.view(frame_wh)
        if view.frame_wh != frame_wh:
            raise InputError(f"the view is for frames of {view.frame_wh}, the image is {frame_wh}")
        self.manifest.input_size.check(view)
        session, preprocess = self._opened.session(self._encoder), self.manifest.preprocess
        # isinstance of a Protocol would look at every member, which takes a tenth of a millisecond.
        if hasattr(session, "run_frame"):
            tensors = cast(FrameSession, session).run_frame(image, view, preprocess, layout)
        else:
            tensors = session.run({"image": encoder_input(to_rgb(image, layout), view, preprocess)})
        return Embedding(tensors, view, capture_ns, self.manifest.model_id)

    def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
        """Masks of what the prompt shows.

        Args:
            embedding: of this model.
            prompt: in pixels of the embedding's frame.
            multimask: three masks if true, one if false. None: three for one point or one box, which is
                ambiguous, and one for more.

        Raises:
            InputError: a prompt outside the frame, with too many points, with a mask of another shape
                or where the model takes none; an embedding of another model; a closed segmenter.
        """
        self._check(embedding)
        return self._decode(embedding, [prompt], self._decoders.smallest(prompt.tokens), multimask)[0]

    def decode_batch(
        self,
        embedding: Embedding,
        prompts: Iterable[Prompt],
        *,
        multimask: bool | None = None,
        together: bool | None = None,
    ) -> list[Masks]:
        """Masks of each prompt on the same frame, in the order of the prompts; as `decode`, up to rounding.

        Args:
            embedding: of this model.
            prompts: in pixels of the embedding's frame.
            multimask: as in `decode`, for each prompt by itself.
            together: whether SAM's prompts go through `decoder_batch`, up to 8 in a run. None: not on a
                processor, where that gains nothing (docs/measurements.md). nano's always go together.

        Raises:
            InputError: as in `decode`, for any of the prompts.
        """
        self._check(embedding)
        prompts = list(prompts)
        if together is None:
            together = self.engine is not None and not self.engine.is_on_processor
        found: list[Masks | None] = [None] * len(prompts)
        for decoder, indices in self._decoders.runs(prompts, together=together):
            answers = self._decode(embedding, [prompts[index] for index in indices], decoder, multimask)
            for index, masks in zip(indices, answers, strict=True):
                found[index] = masks
        return cast("list[Masks]", found)

    def warm_up(self, frame_wh: tuple[int, int], *, batches: Sequence[int] = ()) -> None:
        """Open, compile and run everything that frames of that size need, so that no later call waits for it.

        Args:
            frame_wh: width and height of the frames that will come.
            batches: numbers of prompts that `decode_batch` will be asked for.

        Raises:
            InputError: the model takes no frames of that size.
            EngineError: memory or the device.
        """
        width, height = frame_wh
        view = self.view(frame_wh)
        frame = np.zeros((height, width, 3), np.uint8)
        mask_hw = tuple(side // MASK_STRIDE for side in reversed(view.input_wh))
        point = [(width / 2, height / 2)]
        masks = [None, np.zeros(mask_hw, np.float32)] if self.takes_masks else [None]

        def warm(_: int) -> None:
            embedding = self.encode(frame, view)
            for decoder in self._decoders.all:
                points = point * max(1, decoder.slots - 2)
                for mask in masks:
                    self.decode(embedding, Prompt.points(points, mask_logits=mask))
            for count in batches:
                self.decode_batch(embedding, [Prompt.points(point)] * count)

        # Two at a time: an engine keeps what a run needs for each thread that runs at once.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(warm, range(2 * WARM_RUNS)))

    def close(self) -> None:
        """Give the engines' memory back. Nothing can be encoded or decoded afterwards."""
        self._opened.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, embedding: Embedding) -> None:
        if embedding.model_id != self.manifest.model_id:
            raise InputError(
                f"the embedding is of {embedding.model_id}, this model is {self.manifest.model_id}",
                hint="encode the frame again",
            )

    def _decode(
        self, embedding: Embedding, prompts: Sequence[Prompt], decoder: Decoder, multimask: bool | None
    ) -> list[Masks]:
        """Masks of prompts that go through a decoder in one run."""
        slots = [self._slots(embedding, prompt, decoder.slots) for prompt in prompts]
        feeds = dict(embedding.tensors)
        feeds["point_coords"], feeds["point_labels"] = (
            np.concatenate(arrays) for arrays in zip(*slots, strict=True)
        )
        feeds |= self._mask_feeds(embedding, prompts)
        session = self._opened.session(decoder.name)
        answer = session.run({spec.name: feeds[spec.name] for spec in session.inputs})
        logits, predicted_iou = np.asarray(answer["logits"]), np.asarray(answer["iou"])
        found = []
        for index, prompt in enumerate(prompts):
            several = choose_multimask(prompt.tokens) if multimask is None else multimask
            # Of the decoder's four masks the first is for unambiguous prompts, the others for ambiguous ones.
            picked = slice(1, None) if several else slice(0, 1)
            found.append(Masks(logits[index, picked], predicted_iou[index, picked], embedding.view))
        return found

    def _slots(
        self, embedding: Embedding, prompt: Prompt, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        prompt.check_inside(embedding.view)
        return prompt.slots(embedding.view, count)

    def _mask_feeds(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Arrays:
        """The tensors by which mask prompts, or their absence, reach the decoder."""
        width, height = (side // MASK_STRIDE for side in embedding.view.input_wh)
        for prompt in prompts:
            logits = prompt.mask_logits
            if logits is not None and not self.takes_masks:
                raise InputError(f"{self.manifest.name} takes no mask prompt", hint="give points or a box")
            if logits is not None and logits.shape != (height, width):
                raise InputError(
                    f"mask logits have shape {logits.shape}, this frame's are {(height, width)}",
                    hint="pass the low-resolution logits of an earlier answer on it",
                )
        if self._refine is not None:
            (logits, *_) = (prompt.mask_logits for prompt in prompts)
            if logits is None:
                return {}
            # A mask changes what every image token starts from: that part is computed again.
            feeds = {"embedding": embedding.tensors["embedding"], "mask_logits": logits[None, None]}
            return self._opened.session(self._refine).run(feeds)
        masks = np.zeros((len(prompts), 1, height, width), np.float32)
        for index, prompt in enumerate(prompts):
            if prompt.mask_logits is not None:
                masks[index, 0] = prompt.mask_logits
        has_mask = np.array([prompt.mask_logits is not None for prompt in prompts], np.float32)
        return {"mask_logits": masks, "has_mask": has_mask}


def _named_by_role(graphs: Mapping[str, Graph], role: str) -> list[str]:
    return [name for name, graph in graphs.items() if graph.role == role]
