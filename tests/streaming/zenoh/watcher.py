"""A consumer, as a process that says when it listens: python -m tests.streaming.zenoh.watcher ENDPOINT."""

from __future__ import annotations

import signal
import sys

from tests.streaming.zenoh.peers import Heard, peer


def main(endpoint: str) -> None:
    """Listen to everything of the robot until the process is killed."""
    with peer(connect=endpoint) as session:
        heard = Heard(session, "robot/**")
        heard.wait()
        print("listening", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
