"""The model, for clients: threads of its own and a waiting line that does not grow.

The event loop never waits for an engine, and the live stream keeps its own threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import get_native_id
from time import monotonic_ns, perf_counter_ns
from typing import Any, TypeVar

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.service.asking.prompts import Request
from sam_edge.service.asking.store import Kept, Store
from sam_edge.service.limits import decode_small_image
from sam_edge.service.live.wire import to_jpeg
from sam_edge.streaming.answers.freshness import FreshnessConfig, freshness
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.motion import Motion

T = TypeVar("T")
BEHIND = 10
"""Niceness of the threads that work for clients."""


class BusyError(Exception):
    """Too many wait already."""


class Worker:
    """Runs what takes long, one after the other, beside the event loop.

    Args:
        max_waiting: more are refused.
        threads: how many are at work at once.
    """

    def __init__(self, max_waiting: int, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, "sam-edge service", _step_back)
        self._room = max_waiting
        self.waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises.

        Raises:
            BusyError: too many wait already; nothing was done.
        """
        if self.waiting >= self._room:
            raise BusyError
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Also where the client has left: what is at work takes its place until it is done.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what is at work; what only waits is not begun."""
        self._pool.shutdown(cancel_futures=True)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        if not future.cancelled():
            # Looked at here, because nobody else may do so any more.
            future.exception()


@dataclass(frozen=True, eq=False)
class Engine:
    """What clients can ask of a model. Every method blocks: call them on a `Worker`."""

    segmenter: Segmenter
    store: Store
    max_pixels: int
    limits: FreshnessConfig = field(default_factory=FreshnessConfig)

    def segment(self, image: bytes, request: Request) -> dict[str, Any]:
        """Masks of prompts on an image file."""
        pixels = decode_small_image(image, self.max_pixels)
        start = perf_counter_ns()
        embedding = self.segmenter.encode(pixels)
        encode_ms = _since(start)
        return {"encode_ms": encode_ms, **self.masks(embedding, request)}

    def keep(self, image: bytes) -> dict[str, Any]:
        """Encode an image file and keep its embedding."""
        pixels = decode_small_image(image, self.max_pixels)
        start = perf_counter_ns()
        return self._kept(Kept(self.segmenter.encode(pixels)), start)

    def freeze(self, scene: Scene) -> tuple[dict[str, Any], bytes]:
        """Encode the newest frame of the stream, the whole of it, and keep it with its picture (JPEG)."""
        frame = scene.frame
        if frame is None:
            raise InputError("there is no frame yet", hint="ask again in a moment")
        start = perf_counter_ns()
        embedding = self.segmenter.encode(frame.image, capture_ns=frame.capture_ns)
        jpeg = to_jpeg(frame.image)
        found = self._kept(Kept(embedding, jpeg), start)
        return found | {"capture_ns": frame.capture_ns}, jpeg

    def masks(self, embedding: Embedding, request: Request) -> dict[str, Any]:
        """Masks of prompts on an embedding."""
        start = perf_counter_ns()
        answers = self.segmenter.decode_batch(
            embedding, [one.prompt for one in request.asked], multimask=request.multimask
        )
        decode_ms = _since(start)
        return {
            "model": embedding.model_id,
            "frame_wh": list(embedding.view.frame_wh),
            "decode_ms": decode_ms,
            "answers": [
                {"id": one.id, "masks": masks.to_coco()}
                for one, masks in zip(request.asked, answers, strict=True)
            ],
        }

    def ask(self, scene: Scene, prompt: Prompt, multimask: bool | None, seen_ns: int | None) -> dict[str, Any]:
        """Masks of a prompt on the stream's newest frame.

        Args:
            scene: of the stream.
            prompt: in pixels of the frame that was seen.
            multimask: see `Segmenter.decode`.
            seen_ns: when that was; None: the newest frame.
        """
        embedding, frame = scene.embedding, scene.frame
        if embedding is None or frame is None:
            raise InputError("no frame is encoded yet", hint="ask again in a moment")
        at_ns = frame.capture_ns if seen_ns is None else scene.frame_at(seen_ns)
        if at_ns is None:
            raise InputError("t_ns is before everything that is known", hint="freeze the frame first")
        on_it = _carried(prompt, scene.motion_to_embedding(at_ns))
        if not _is_inside(on_it, embedding.view):
            # Only a window round the gaze was encoded.
            embedding = self.segmenter.encode(frame.image, capture_ns=frame.capture_ns)
            on_it = _carried(prompt, scene.motion_to_now(at_ns))
        start = perf_counter_ns()
        decoded = self.segmenter.decode(embedding, on_it, multimask=multimask)
        decode_ms = _since(start)
        motion = scene.motion_to_now(embedding.capture_ns)
        masks: Masks = carry_masks(decoded, motion)
        age_ms = (monotonic_ns() - embedding.capture_ns) / 1e6
        wh = embedding.view.frame_wh
        is_same = embedding.capture_ns == frame.capture_ns
        return {
            "masks": masks.to_coco(),
            "frame_wh": list(wh),
            "decode_ms": decode_ms,
            "capture_ns": frame.capture_ns,
            "embedding_age_ms": round(age_ms, 3),
            "freshness": freshness(age_ms, is_same, motion, wh, self.limits),
        }

    def _kept(self, kept: Kept, start: int) -> dict[str, Any]:
        return {
            "id": self.store.add(kept),
            "model": kept.embedding.model_id,
            "frame_wh": list(kept.embedding.view.frame_wh),
            "encode_ms": _since(start),
        }


def _step_back() -> None:
    """Let the live stream's threads go before this one, where the system gives threads a priority (Linux)."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), BEHIND)


def _is_inside(prompt: Prompt, view: View) -> bool:
    try:
        prompt.check_inside(view)
    except InputError:
        return False
    return True


def _carried(prompt: Prompt, motion: Motion) -> Prompt:
    """A prompt on another frame; a box becomes the upright box round its moved corners."""
    points = [motion.carry_point(x, y) for x, y in prompt.points_px.tolist()]
    box = None
    if prompt.box_px is not None:
        x0, y0, x1, y1 = prompt.box_px.tolist()
        xs, ys = zip(*(motion.carry_point(x, y) for x in (x0, x1) for y in (y0, y1)), strict=True)
        box = (min(xs), min(ys), max(xs), max(ys))
    return Prompt.points(points, prompt.labels, box=box)


def _since(start: int) -> float:
    return round((perf_counter_ns() - start) / 1e6, 3)
