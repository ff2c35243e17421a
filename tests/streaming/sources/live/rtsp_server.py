"""An RTSP server on loopback, of GStreamer's rtsp-server library; run by the system's Python.

Prints its port when it listens, or what is missing, and ends with its standard input.
"""

from __future__ import annotations

import sys
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found, unused-ignore]  # noqa: E402


def main(port: str, pipeline: str) -> None:
    """Serve a pipeline, whose payloader is called pay0, as /live."""
    Gst.init(None)
    for element in ("x264enc", "rtph264pay"):
        if Gst.ElementFactory.find(element) is None:
            sys.exit(print(f"no {element}", flush=True))
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(pipeline)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    loop = GLib.MainLoop()

    def ended(*_: Any) -> bool:
        loop.quit()
        return False

    GLib.io_add_watch(
        sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, ended
    )
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
