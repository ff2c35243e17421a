"""What a recording says of itself, and whether a model can repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, cast

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.session.images import Frames

FORMAT = "1"
"""Of the channels, see `mcap_file.py`; the version of the recordings that `sinks/mcap.py` writes as well."""


@dataclass(frozen=True)
class SessionFacts:
    """A recorded run."""

    model: str
    """The model's id."""
    engine: str
    """What ran it; another one may round differently."""
    config: StreamConfig
    frames: Frames
    frame_wh: tuple[int, int]
    """Width and height of the first frame in pixels."""
    fps: float
    """Nominal frames per second."""
    sam_edge: str = ""
    """Version of this package."""

    @classmethod
    def of(
        cls, segmenter: Segmenter, config: StreamConfig, frames: Frames, frame_wh: tuple[int, int], fps: float
    ) -> SessionFacts:
        """What will be recorded."""
        engine = engine_of(segmenter)
        return cls(segmenter.manifest.model_id, engine, config, frames, frame_wh, fps, version("sam-edge"))

    def records(self) -> dict[str, dict[str, str]]:
        """The metadata records of the file."""
        width, height = (str(side) for side in self.frame_wh)
        about = {"format": FORMAT, "kind": "session", "sam_edge": self.sam_edge, "fps": f"{self.fps:g}"}
        run = {"model": self.model, "engine": self.engine, "frames": self.frames}
        return {
            "sam_edge": about | {"frame_width": width, "frame_height": height},
            "run": run | {"config": json.dumps(_settings(self.config))},
        }

    @classmethod
    def read(cls, records: Mapping[str, Mapping[str, str]], name: str) -> SessionFacts:
        """What `records` wrote.

        Raises:
            InputError: the file is no recorded run, or one of another version.
        """
        about, run = records.get("sam_edge", {}), records.get("run", {})
        if about.get("kind") != "session":
            raise InputError(
                f"{name} is not a recorded run",
                path=name,
                hint="make one with --record, or give --gaze too",
            )
        if about.get("format") != FORMAT:
            raise InputError(
                f"{name} has format {about.get('format')!r:.40}, this version reads {FORMAT}", path=name
            )
        try:
            if run["frames"] not in ("png", "jpeg"):
                raise ValueError(run["frames"])
            return cls(
                run["model"],
                run["engine"],
                StreamConfig.from_mapping(json.loads(run["config"])),
                cast(Frames, run["frames"]),
                (int(about["frame_width"]), int(about["frame_height"])),
                float(about["fps"]),
                about["sam_edge"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{name} says nothing sound of its run: {error!r:.100}", path=name) from error

    def check(self, segmenter: Segmenter, name: str) -> tuple[str, ...]:
        """Whether this model can repeat the run.

        Returns:
            Why the results may not be the same to the bit, one sentence each.

        Raises:
            InputError: it is another model.
        """
        if segmenter.manifest.model_id != self.model:
            raise InputError(
                f"{name} was recorded with the model {self.model}, this is {segmenter.manifest.model_id}",
                path=name,
                hint="give that one with --model",
            )
        notes = []
        if (engine := engine_of(segmenter)) != self.engine:
            notes.append(f"{name} was recorded on {self.engine}, this is {engine}: the last bits may differ")
        if self.sam_edge != version("sam-edge"):
            notes.append(f"{name} was recorded by sam-edge {self.sam_edge}: results may differ")
        return tuple(notes)


def engine_of(segmenter: Segmenter) -> str:
    """Such as "openvino fp16"."""
    return "the FP32 sources" if segmenter.engine is None else str(segmenter.engine)


def _settings(config: StreamConfig) -> dict[str, Any]:
    """As `StreamConfig.from_mapping` takes them: what is None is left out."""
    tables = {
        name: {key: value for key, value in table.items() if value is not None}
        for name, table in asdict(config).items()
    }
    if "px_per_degree" in tables["gaze"]:
        del tables["gaze"]["horizontal_fov_deg"]
    return tables
