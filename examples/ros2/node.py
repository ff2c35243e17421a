"""A ROS 2 node for the masks of `sam-edge serve`; README.md beside it says how to start it.

Topics: `~/mask` (sensor_msgs/Image, mono8) and `~/detections` (vision_msgs/Detection2DArray) go out, `~/gaze`
(geometry_msgs/PointStamped, x and y in pixels of the frame) comes in.
"""

from __future__ import annotations

import asyncio
import os
from threading import Thread
from typing import Any

from link import Link
from messages import detections, fill, image


def main() -> None:
    """Until Ctrl-C."""
    # Here, so that the file can be read where there is no ROS.
    import rclpy  # type: ignore[import-not-found, unused-ignore]
    from geometry_msgs.msg import PointStamped  # type: ignore[import-not-found, unused-ignore]
    from rclpy.qos import qos_profile_sensor_data  # type: ignore[import-not-found, unused-ignore]
    from sensor_msgs.msg import Image  # type: ignore[import-not-found, unused-ignore]
    from vision_msgs.msg import (  # type: ignore[import-not-found, unused-ignore]
        Detection2D,
        Detection2DArray,
        ObjectHypothesisWithPose,
    )

    rclpy.init()
    node = rclpy.create_node("sam_edge")
    url = node.declare_parameter("url", "http://127.0.0.1:8080").value
    frame_id = node.declare_parameter("frame_id", "camera").value
    stale = node.declare_parameter("publish_stale", False).value
    masks = node.create_publisher(Image, "~/mask", qos_profile_sensor_data)
    boxes = node.create_publisher(Detection2DArray, "~/detections", qos_profile_sensor_data)

    def publish(result: dict[str, Any], payload: bytes, offset_ns: int) -> None:
        found = detections(result, offset_ns, frame_id, stale=stale)
        array = fill(Detection2DArray(), found)
        for values in found["detections"]:
            one = fill(Detection2D(), values)
            one.results = [fill(ObjectHypothesisWithPose(), hypothesis) for hypothesis in values["results"]]
            array.detections.append(one)
        boxes.publish(array)
        if found["detections"]:
            values = image(result, payload, offset_ns, frame_id)
            if values is not None:
                masks.publish(fill(Image(), values))

    def now_ns() -> int:
        return int(node.get_clock().now().nanoseconds)

    link = Link(url, os.environ.get("SAM_EDGE_TOKEN"), publish, now_ns, node.get_logger().warning)

    def look(point: Any) -> None:
        at = point.header.stamp
        at_ns = at.sec * 10**9 + at.nanosec
        link.gaze(point.point.x, point.point.y, at_ns or None)

    node.create_subscription(PointStamped, "~/gaze", look, qos_profile_sensor_data)
    Thread(target=lambda: asyncio.run(link.run()), daemon=True).start()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
