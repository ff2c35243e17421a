"""Gaze of an MCAP recording, on the clock of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sam_edge.errors import InputError
from sam_edge.streaming.clocks import DelayOffset
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.session.reading import McapFile


def read_mcap_gaze(name: str, *, repair: bool = False) -> list[GazeSample]:
    """Every sample once, in the order of time.

    Args:
        name: a session, or what the sink wrote; the latter has only samples that were answered.
        repair: nothing needs it: whole recordings have no faults, and a damaged one is read up to there.

    Raises:
        InputError: it cannot be read, or has no gaze.
        MissingExtraError: mcap is not installed.
    """
    file = McapFile(name)
    is_session = file.records.get("sam_edge", {}).get("kind") == "session"
    samples = _samples(file, name)
    if is_session:
        samples = _on_our_clock(samples)
    # An answer that was carried on names its sample again.
    found = {sample.t_ns: replace(sample, clock="video", offset_ns=0, receive_ns=0) for sample in samples}
    if not found:
        raise InputError(f"{name} holds no gaze samples", path=name)
    return [found[t_ns] for t_ns in sorted(found)]


def _samples(file: McapFile, name: str) -> Iterator[GazeSample]:
    for message in file.messages(("/gaze",)):
        try:
            sample = GazeSample(**message.content)
            yield replace(
                sample,
                t_ns=int(sample.t_ns),
                x_norm=float(sample.x_norm),
                y_norm=float(sample.y_norm),
                confidence=float(sample.confidence),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{name} has a gaze sample that says nothing sound", path=name) from error


def _on_our_clock(samples: Iterator[GazeSample]) -> Iterator[GazeSample]:
    """A session has samples as they came: a tracker's own clock is found anew, as in the live run."""
    offset = DelayOffset()
    for sample in samples:
        if sample.clock != "source" or not sample.receive_ns:
            yield sample
            continue
        offset = offset.after(sample.t_ns, sample.receive_ns)
        yield replace(sample, t_ns=sample.t_ns + (offset.offset_ns or 0))
