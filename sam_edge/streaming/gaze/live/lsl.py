"""Lab Streaming Layer: `lsl:NAME`, or `lsl:` for the first stream of type Gaze on the network.

The stream's description tells what its channels are (github.com/sccn/xdf/wiki/Gaze-Meta-Data): types ScreenX,
ScreenY and Confidence, units `normalized` or `pixels`. Pixels count from the top left; `lsl:NAME?size=WxH`
tells of what image. liblsl measures the offset between the clocks of the two machines itself.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic_ns
from typing import Any

from sam_edge.errors import InputError, MissingExtraError
from sam_edge.lazy import named_extras
from sam_edge.streaming.gaze.live.tracker import Link, RejectedError, Tracker, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample

WAIT_S = 0.2
"""liblsl cannot be woken: so long `close` may wait for the thread."""
BUFFER_S = 1
"""liblsl keeps so much that was not taken."""
MAX_CHANNELS = 256
FORM = "lsl:[NAME][?size=WxH]"
CAMERAS = {"neon": (1600, 1200), "invisible": (1088, 1080)}
"""Part of a stream's name, of Pupil Labs' own relays -> the image its pixels belong to."""
LABELS = {"norm_pos_x": "norm_pos_y", "x_norm": "y_norm", "x": "y", "gaze_x": "gaze_y", "gaze x": "gaze y"}
"""Of x -> of y, in lower case, where a description has no types."""
FROM_BOTTOM = "norm_pos_y"
"""Pupil Core's relay sends its own coordinate under this label, which counts from the bottom."""


def open_lsl(name: str) -> Tracker:
    """Receive a stream, from whichever machine offers it.

    Raises:
        InputError: the address is wrong.
        MissingExtraError: pylsl, or its native library, is not installed.
    """
    wanted, size = parse_name(name)
    with named_extras("lsl"):
        try:
            import pylsl
        except (RuntimeError, OSError) as error:
            raise MissingExtraError(
                "liblsl", "lsl", "install liblsl and set PYLSL_LIB to it: pylsl brings none for this machine"
            ) from error

    def receive(link: Link) -> None:
        inlet, channels = _connect(pylsl, wanted, size, link)
        if inlet is None or channels is None:
            return
        try:
            _receive(pylsl, inlet, channels, link)
        finally:
            inlet.close_stream()

    return Tracker(name, receive)


def parse_name(name: str) -> tuple[str, tuple[int, int] | None]:
    """The stream's name ("": any stream of gaze) and the image size of lsl:[NAME][?size=WxH].

    Raises:
        InputError: it does not look so.
    """
    wanted, mark, query = name.partition(":")[2].removeprefix("//").partition("?")
    size = re.fullmatch(r"size=([1-9]\d{0,4})x([1-9]\d{0,4})", query)
    # liblsl looks names up with a query that quotes them.
    if (mark and size is None) or "'" in wanted or '"' in wanted:
        raise InputError(f"{name} is not a stream", hint=f"give {FORM}, such as lsl:pupil_capture")
    return wanted, (int(size[1]), int(size[2])) if size else None


@dataclass(frozen=True)
class Channels:
    """Where in a stream's samples the gaze is."""

    x: int
    y: int
    confidence: int | None
    size: tuple[float, float] = (1.0, 1.0)
    """What the width and the height of the image are in the unit of the channels."""
    from_bottom: bool = False

    def sample(self, values: Sequence[Any], t_ns: int, offset_ns: int, receive_ns: int) -> GazeSample:
        """The sample in the values of all channels; without a point it is a blink.

        Raises:
            RejectedError: `malformed` or `out of range`.
        """
        try:
            x, y = float(values[self.x]) / self.size[0], float(values[self.y]) / self.size[1]
            confidence = 1.0 if self.confidence is None else float(values[self.confidence])
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise RejectedError("malformed") from error
        y = 1 - y if self.from_bottom else y
        # An eye that is not found is NaN in most streams.
        if not all(map(math.isfinite, (x, y, confidence))):
            x, y, confidence = 0.0, 0.0, 0.0
        return checked_sample(t_ns, x, y, confidence, clock="host", receive_ns=receive_ns, offset_ns=offset_ns)


def find_channels(described: Sequence[Mapping[str, str]], name: str, size: tuple[int, int] | None) -> Channels:
    """Find the gaze in a stream.

    Args:
        described: label, eye, type and unit of each channel, as far as they are given.
        name: of the stream.
        size: of the image, where the user told it.

    Raises:
        ConnectionError: there is no gaze, or pixels of an unknown image.
    """
    lower = [{key: text.strip().lower() for key, text in channel.items()} for channel in described]
    x, y = _find(lower, "type", "screenx"), _find(lower, "type", "screeny")
    for x_label, y_label in LABELS.items():
        if x is None or y is None:
            x, y = _find(lower, "label", x_label), _find(lower, "label", y_label)
    if x is None or y is None:
        raise ConnectionError(f"the stream {name!r} has no channels of type ScreenX and ScreenY")
    confidence = _find(lower, "type", "confidence")
    if confidence is None:
        confidence = _find(lower, "label", "confidence")
    pixels = lower[x].get("unit", "").startswith(("pixel", "px"))
    if pixels and size is None:
        size = next((wh for part, wh in CAMERAS.items() if part in name.lower()), None)
        if size is None:
            raise ConnectionError(f"the stream {name!r} counts pixels: tell of what image, with ?size=WxH")
    shares = lower[x].get("unit", "").startswith("norm")
    from_bottom = lower[y].get("label") == FROM_BOTTOM
    return Channels(x, y, confidence, (1.0, 1.0) if shares or size is None else size, from_bottom)


def _find(channels: Sequence[Mapping[str, str]], key: str, text: str) -> int | None:
    """The channel that says so, that of both eyes first."""
    found = [index for index, channel in enumerate(channels) if channel.get(key) == text]
    return min(found, key=lambda index: channels[index].get("eye") != "both", default=None)


def _connect(
    pylsl: Any, wanted: str, size: tuple[int, int] | None, link: Link
) -> tuple[Any, Channels] | tuple[None, None]:
    query = ("name", wanted) if wanted else ("type", "Gaze")
    found = pylsl.resolve_byprop(*query, minimum=1, timeout=1.0)
    if not found:
        what = f"no stream {wanted!r}" if wanted else "no stream of type Gaze"
        raise ConnectionError(f"{what} on the network")
    if link.closed:
        return None, None
    inlet = pylsl.StreamInlet(found[0], max_buflen=BUFFER_S, recover=False)
    try:
        info = inlet.info(timeout=2.0)
        inlet.open_stream(timeout=2.0)
        return inlet, find_channels(_described(info), info.name(), size)
    except BaseException:
        inlet.close_stream()
        raise


def _described(info: Any) -> list[dict[str, str]]:
    described: list[dict[str, str]] = []
    channel = info.desc().child("channels").child("channel")
    while not channel.empty() and len(described) < MAX_CHANNELS:
        described.append({key: channel.child_value(key) for key in ("label", "eye", "type", "unit")})
        channel = channel.next_sibling("channel")
    return described


def _receive(pylsl: Any, inlet: Any, channels: Channels, link: Link) -> None:
    clock_ns = _clock_offset_ns(pylsl)
    while not link.closed:
        values, stamp_s = inlet.pull_sample(timeout=WAIT_S)
        receive_ns = monotonic_ns()
        if values is None:
            continue
        # liblsl measures every few seconds, and answers at once in between.
        offset_ns = round(inlet.time_correction(timeout=2.0) * 1e9) + clock_ns
        t_ns = round(stamp_s * 1e9) + offset_ns
        link.offer(partial(channels.sample, values, t_ns, offset_ns, receive_ns))


def _clock_offset_ns(pylsl: Any) -> int:
    """What to add to a time of liblsl's clock to get this machine's monotonic one: about nothing on Linux."""
    offsets: list[float] = []
    for _ in range(9):
        before_ns = monotonic_ns()
        theirs_ns = pylsl.local_clock() * 1e9
        offsets.append((before_ns + monotonic_ns()) / 2 - theirs_ns)
    return round(statistics.median(offsets))
