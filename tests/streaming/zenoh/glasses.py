"""A device that sends frames and gaze, as a process: python -m tests.streaming.zenoh.glasses ENDPOINT."""

from __future__ import annotations

import sys
import time

import cv2

from sam_edge.streaming.zenoh.messages import frame_header, gaze_message
from tests.streaming.live.watching import picture
from tests.streaming.zenoh.peers import peer


def main(endpoint: str) -> None:
    """Send 20 frames and looks a second until the process is killed."""
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(picture(k), cv2.COLOR_RGB2BGR))[1].tobytes() for k in range(4)]
    with peer(connect=endpoint) as session:
        index = 0
        while True:
            jpeg = jpegs[index % 4]
            wh = (picture(0).shape[1], picture(0).shape[0])
            header = frame_header(index, wh, time.monotonic_ns())
            session.put("glasses/frame", jpeg, attachment=header, encoding="image/jpeg")
            session.put("glasses/gaze", gaze_message(0.4, 0.5), encoding="application/json")
            index += 1
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
