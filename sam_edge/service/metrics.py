"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from sam_edge.host.sensors import temperature_c
from sam_edge.streaming.result import FrameResult

if TYPE_CHECKING:
    from sam_edge.service.context import Context

BUCKETS_S = (0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0)
AGES = ("gaze_age", "frame_age", "embedding_age")


class Metrics:
    """Filled by the stream; read by `text`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._took = {
            name: Histogram(f"sam_edge_{name}_seconds", what, buckets=BUCKETS_S, registry=self.registry)
            for name, what in (
                ("gaze_to_mask", "Arrival of a gaze sample to its mask."),
                ("gaze_age", "Age of the gaze sample when its result was ready."),
                ("frame_age", "Age of the frame the mask lies on."),
                ("embedding_age", "Age of the pixels the mask was made from."),
            )
        }

    def observe(self, frame_result: FrameResult) -> None:
        """Count a part of a frame; microseconds, on the decoder's thread."""
        for result in frame_result.results:
            if "total" in result.stages_ms:
                self._took["gaze_to_mask"].observe(result.stages_ms["total"] / 1e3)
            if result.masks is not None:
                for name in AGES:
                    self._took[name].observe(getattr(result, f"{name}_ms") / 1e3)

    def watch(self, context: Context) -> None:
        """Also read what the service knows."""
        self.registry.register(_Service(context))

    def text(self) -> bytes:
        """In Prometheus' text format, 0.0.4."""
        return generate_latest(self.registry)


class _Service(Collector):
    """Counts of the stream and the service, read when somebody asks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        context = self._context
        report, scene, now_ns = context.stream.report(), context.stream.scene, monotonic_ns()
        counters = {
            "frames": ("Frames that came.", report.frames),
            "frames_skipped": ("Frames that a newer one replaced.", report.skipped_frames),
            "frames_encoded": ("Frames that were encoded.", report.encoded_frames),
            "gaze_samples": ("Gaze samples that came.", report.gaze_samples),
            "decodes": ("Gaze samples and boxes that were decoded.", report.decodes),
            "results_unread": ("Results that slow readers missed.", report.unread_results),
            "reconnects": ("How often the camera was opened again.", context.reconnects()),
            "connections_refused": ("Connections over the limit.", context.connections.refused),
            "connections_timed_out": ("Connections that sent no request.", context.connections.timed_out),
            "clients_stalled": ("Clients that took nothing and were cut off.", context.connections.stalled),
        }
        for name, (what, value) in counters.items():
            yield CounterMetricFamily(f"sam_edge_{name}", what, value=value)
        for name, label, what, counts in (
            ("results", "outcome", "Results by freshness or status.", report.results),
            ("dropped", "reason", "Frames, samples and boxes that were not used.", report.dropped),
            ("errors", "where", "What failed; the stream went on.", _places(report.errors)),
            ("requests", "outcome", "Requests and messages that compute.", context.outcomes),
        ):
            family = CounterMetricFamily(f"sam_edge_{name}", what, labels=[label])
            for key, count in dict(counts).items():
                family.add_metric([key], count)
            yield family
        captures = scene.captures_ns
        gauges = {
            "camera_fps": ("Frames a second of the camera.", _fps(captures)),
            "newest_frame_age_seconds": ("", (now_ns - captures[-1]) / 1e9 if captures else None),
            "newest_embedding_age_seconds": (
                "",
                None if scene.embedding is None else (now_ns - scene.embedding.capture_ns) / 1e9,
            ),
            "clients": ("WebSocket clients.", context.clients),
            "connections": ("Open connections.", len(context.connections)),
            "embeddings_kept": ("Embeddings kept for clients.", len(context.engine.store)),
            "requests_waiting": ("Requests that wait for the engine.", context.worker.waiting),
            "temperature_celsius": ("The hottest thermal zone.", temperature_c()),
        }
        for name, (what, level) in gauges.items():
            if level is not None:
                yield GaugeMetricFamily(f"sam_edge_{name}", what or name.replace("_", " "), value=level)


def _fps(captures_ns: tuple[int, ...]) -> float | None:
    if len(captures_ns) < 2 or captures_ns[-1] <= captures_ns[0]:
        return None
    return (len(captures_ns) - 1) / (captures_ns[-1] - captures_ns[0]) * 1e9


def _places(errors: Mapping[str, int]) -> dict[str, int]:
    """Where -> how often: what was said there may name files, and a label should have few values."""
    found: dict[str, int] = {}
    for what, count in errors.items():
        place = what.partition(":")[0]
        found[place] = found.get(place, 0) + count
    return found
