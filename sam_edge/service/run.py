"""The whole daemon: what was configured is opened, and served until somebody ends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import monotonic_ns

from sam_edge.bundle.folder import find_bundle
from sam_edge.segmenter import Segmenter
from sam_edge.service.auth import read_token
from sam_edge.service.config import Settings
from sam_edge.service.context import Context
from sam_edge.service.server import Feed, listening
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import LiveGaze
from sam_edge.streaming.live.api import open_any_gaze, stream
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.sources.source import FrameSource

LOOK_S = 0.5
SWITCH_S = 0.0005
"""Python threads take turns so often: the stream's wait less for the event loop, which is busy with clients."""


class Watched:
    """A tracker, and when its newest sample came."""

    def __init__(self, inner: LiveGaze) -> None:
        self._inner = inner
        self.newest_ns: int | None = None

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def dropped(self) -> Mapping[str, int]:
        return self._inner.dropped

    def __iter__(self) -> Iterator[GazeSample]:
        for sample in self._inner:
            self.newest_ns = monotonic_ns()
            yield sample

    def close(self) -> None:
        self._inner.close()


async def serve(
    settings: Settings,
    segmenter: Segmenter,
    frames: FrameSource,
    *,
    say: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set or the source ends; then everything is closed, outputs whole.

    Args:
        settings: what was configured.
        segmenter: the model; it stays open.
        frames: the source; closed at the end.
        say: told in one line where the service can be reached.
        stop: ends it.

    Raises:
        InputError: the configuration would let others in, or something cannot be opened.
    """
    sys.setswitchinterval(SWITCH_S)
    config = settings.service
    token = read_token(config.token_file)
    config.check(token is not None)
    with ExitStack() as opened:
        opened.callback(frames.close)
        gaze = open_any_gaze(settings.gaze or None, frames)
        watched = None
        if gaze is not None and not isinstance(gaze, (list, tuple)):
            watched = gaze = Watched(gaze)  # type: ignore[arg-type]
            opened.callback(watched.close)
        feed = Feed(asyncio.get_running_loop(), frames.info.frame_wh, frames.info.fps)
        opened.callback(feed.close)
        running: Stream = await asyncio.to_thread(
            lambda: stream(
                frames,
                gaze,
                model=segmenter,
                config=settings.stream,
                sinks=settings.outputs,
                each=feed.each,
            )
        )
        running.on_close(opened.pop_all().close, last=True)
    try:
        context = Context.of(
            config,
            running,
            segmenter,
            feed.hub,
            feed.metrics,
            token=token,
            takes_gaze=not settings.gaze,
            tracker_ns=None if watched is None else lambda: watched.newest_ns,
            decoder=_decoder(settings.model.name),
            reconnects=lambda: int(getattr(frames, "reconnects", 0)),
        )
        async with listening(context) as (host, port):
            scheme = "https" if config.tls_cert else "http"
            shown = f"[{host}]" if ":" in host else host
            say(f"serving on {scheme}://{shown}:{port}/" + (" (the token is the password)" if token else ""))
            while not (stop.is_set() or running.is_closed):
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_S)
                except asyncio.TimeoutError:
                    continue
    finally:
        await asyncio.to_thread(running.close)


def _decoder(model: str) -> bytes:
    """The smallest decoder's FP32 graph, which browsers run."""
    bundle = find_bundle(model)
    return bundle.graph(next(iter(bundle.manifest.decoders))).read_bytes()
