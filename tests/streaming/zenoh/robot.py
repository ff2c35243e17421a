"""A device that masks what another one looks at: python -m tests.streaming.zenoh.robot ENDPOINT."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from sam_edge.streaming.live.api import stream
from tests.disc_model import disc_segmenter


def main(endpoint: str) -> None:
    """Run until the process is killed."""
    glasses = f"zenoh:glasses?listen={endpoint}"
    with tempfile.TemporaryDirectory() as folder:
        segmenter = disc_segmenter(Path(folder))
        for _ in stream(glasses, glasses, model=segmenter, sinks=[f"zenoh:robot?listen={endpoint}"]):
            pass


if __name__ == "__main__":
    main(sys.argv[1])
