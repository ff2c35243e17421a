"""A robot with a loop of its own: it pushes what its camera and tracker see, and reads the newest mask.

python examples/robot.py
"""

import time

import sam_edge
from sam_edge.streaming.sources.scene import SceneSource
from sam_edge.synthetic.scene import Scene

camera = SceneSource(Scene(seed=2, width=640, height=360, duration_s=2.0))
with sam_edge.load("nano", frame_wh=(640, 360)) as model, sam_edge.Stream(model) as stream:
    for frame in camera:  # the robot's own loop
        stream.push_frame(frame.image)
        now_ns = time.monotonic_ns()
        stream.push_gaze(320, 200, now_ns)  # an operator points here
        stream.push_boxes([sam_edge.TrackedBox(7, now_ns, box_px=(250, 120, 420, 300))])
        result = stream.latest()
        if result is not None and result.masks is not None and result.freshness != "stale":
            x, y, width, height = result.masks.boxes_px()[0]
            who = "pointed at" if result.object_id is None else f"object {result.object_id}"
            print(f"{who}: {width} x {height} at ({x}, {y}), {result.embedding_age_ms:.0f} ms old")
