"""Answering: a look, or boxes, become masks on the newest frame. Functions of values; the time is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter_ns

from sam_edge.embedding import Embedding
from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.answers.freshness import FreshnessConfig, freshness
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.answers.trail import Trail
from sam_edge.streaming.choice import ChoiceConfig, choose
from sam_edge.streaming.foveation import FoveationConfig, choose_window, window_view
from sam_edge.streaming.gaze.filters.chain import Filtered
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.flow import SmallFrame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.objects import Admitted, TrackedBox, admit, decode_objects
from sam_edge.streaming.result import Result, Status
from sam_edge.streaming.sources.source import Frame

Clock = Callable[[], int]
"""Nanoseconds of this machine's monotonic clock."""


@dataclass(frozen=True, eq=False)
class InForce:
    """The mask that stands until another one is made."""

    result: Result
    """The answer it came with."""
    chosen: Masks
    """k = 1, on the frame it was made from."""
    embedding: Embedding
    """That it was decoded from."""
    small: SmallFrame | None
    """The small grey image of its frame."""
    look: int | None
    """The number of the look it answers."""

    @property
    def capture_ns(self) -> int:
        """When that frame was taken."""
        return self.embedding.capture_ns


@dataclass(frozen=True, eq=False)
class Answerer:
    """What does not change from answer to answer."""

    segmenter: Segmenter
    clock: Clock
    gaze: GazeFilterConfig = field(default_factory=GazeFilterConfig)
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    foveation: FoveationConfig = field(default_factory=FoveationConfig)
    limits: FreshnessConfig = field(default_factory=FreshnessConfig)

    def look(
        self, scene: Scene, look: Filtered, trail: Trail, in_force: InForce | None
    ) -> tuple[Result, InForce | None]:
        """Decode what the eye looks at, and carry its mask to the newest frame.

        The point is on the frame that was the newest at the sample's time; it is carried back to the
        embedding's frame, along with the camera or with the thing that the eye follows. Of the three masks one
        is chosen with the memory of the one in force.
        """
        began_ns = self.clock()
        embedding = scene.embedding
        assert embedding is not None, "the scheduler asks for this later"
        seen_ns = scene.frame_at(look.sample.t_ns)
        since = Motion(is_known=False)
        if seen_ns is not None:
            since = scene.motion_to_embedding(seen_ns).inverse()
            since = self._along(trail, since, embedding.capture_ns, seen_ns, scene, look.fixation_id)
        x_px, y_px = since.inverse().carry_point(look.x_px, look.y_px)
        if not _inside(embedding.view, x_px, y_px):
            # The eye is ahead of the encoder: what it looks at was not seen yet.
            return self._result(scene, look, "outside", began_ns), in_force
        start = perf_counter_ns()
        decoded = self.segmenter.decode(embedding, Prompt.points([(x_px, y_px)]))
        decoded_at = perf_counter_ns()
        previous = None
        if in_force is not None and in_force.result.object_id is None:
            camera = scene.chain.between(in_force.capture_ns, embedding.capture_ns)
            begin_ns, end_ns = in_force.capture_ns, embedding.capture_ns
            previous = carry_masks(
                in_force.chosen, self._along(trail, camera, begin_ns, end_ns, scene, in_force.look)
            )
        chosen = decoded[choose(decoded, previous, (x_px, y_px), self.choice).index]
        chosen_at = perf_counter_ns()
        motion = self._to_now(scene, embedding.capture_ns, trail, look.fixation_id)
        masks = carry_masks(chosen, motion)
        stages = {
            "decode": (decoded_at - start) / 1e6,
            "choose": (chosen_at - decoded_at) / 1e6,
            "carry": (perf_counter_ns() - chosen_at) / 1e6,
        }
        result = self._result(
            scene, look, "mask", began_ns, stages, masks=masks, decoded=decoded, motion=motion
        )
        return result, InForce(result, chosen, embedding, scene.embedding_small, look.fixation_id)

    def boxes(self, scene: Scene, boxes: Sequence[TrackedBox]) -> tuple[list[Result], Admitted]:
        """Decode an object tracker's boxes, all of one time, in one run, and carry their masks to the newest
        frame.

        Returns:
            A result for each box that can be decoded, and what became of the others.
        """
        began_ns = self.clock()
        embedding, frame = scene.embedding, scene.frame
        assert embedding is not None, "the scheduler asks for this later"
        assert frame is not None, "an embedding has a frame"
        times_ns = [box.t_ns for box in boxes if isinstance(box.t_ns, int)]
        seen_ns = scene.frame_at(times_ns[0]) if times_ns else None
        to_embedding = Motion() if seen_ns is None else scene.motion_to_embedding(seen_ns)
        admitted = admit(boxes, embedding.view, to_embedding)
        start = perf_counter_ns()
        decoded = decode_objects(self.segmenter, embedding, admitted.boxes)
        decoded_at = perf_counter_ns()
        motion = scene.motion_to_now(embedding.capture_ns)
        carried = [carry_masks(masks.best(), motion) for masks in decoded]
        now_ns = self.clock()
        age_ms = (now_ns - embedding.capture_ns) / 1e6
        state = freshness(age_ms, embedding.capture_ns == frame.capture_ns, motion, _wh(frame), self.limits)
        stages = {
            "decode": (decoded_at - start) / 1e6,
            "carry": (perf_counter_ns() - decoded_at) / 1e6,
            "wait": (began_ns - min((box.t_ns for box in admitted.boxes), default=began_ns)) / 1e6,
        }
        results = []
        for box, all_of_it, masks in zip(admitted.boxes, decoded, carried, strict=True):
            x_px, y_px = motion.carry_point(*_middle(box))
            results.append(
                Result(
                    box.t_ns,
                    x_px,
                    y_px,
                    "mask",
                    masks,
                    state,
                    object_id=box.object_id,
                    gaze_age_ms=(now_ns - box.t_ns) / 1e6,
                    frame_age_ms=(now_ns - frame.capture_ns) / 1e6,
                    embedding_age_ms=age_ms,
                    stages_ms=stages,
                    decoded=all_of_it,
                    motion=motion,
                )
            )
        return results, admitted

    def view(
        self,
        scene: Scene,
        look: Filtered | None,
        trail: Trail,
        in_force: InForce | None,
        before: View | None,
    ) -> View:
        """Which part of the newest frame to encode: the whole of it, or a window round what the eye rests
        on."""
        frame_wh = scene.frame_wh
        assert frame_wh is not None, "the scheduler saw a frame"
        if look is None or look.phase not in ("fixation", "pursuit"):
            return self.segmenter.view(frame_wh)
        seen_ns = scene.frame_at(look.sample.t_ns)
        to_now = Motion() if seen_ns is None else scene.motion_to_now(seen_ns)
        object_px = None
        if in_force is not None:
            motion = self._to_now(scene, in_force.capture_ns, trail, in_force.look)
            moved = carry_masks(in_force.chosen, motion)
            object_px = moved.rough_box_px()
        previous = None
        if before is not None and before.window_xywh[2:] != frame_wh:
            previous = before.window_xywh
        window = choose_window(
            frame_wh, to_now.carry_point(look.x_px, look.y_px), previous, object_px, self.foveation
        )
        return window_view(self.segmenter, frame_wh, window)

    def carried(self, scene: Scene, in_force: InForce, trail: Trail) -> Result:
        """The mask in force, on the newest frame."""
        frame = scene.frame
        assert frame is not None, "there was one when the mask was made"
        start = perf_counter_ns()
        motion = self._to_now(scene, in_force.capture_ns, trail, in_force.look)
        masks = carry_masks(in_force.chosen, motion)
        now_ns = self.clock()
        before = in_force.result
        x_px, y_px = before.motion.inverse().then(motion).carry_point(before.x_px, before.y_px)
        age_ms = (now_ns - in_force.capture_ns) / 1e6
        return replace(
            before,
            x_px=x_px,
            y_px=y_px,
            masks=masks,
            motion=motion,
            freshness=freshness(
                age_ms, frame.capture_ns == in_force.capture_ns, motion, _wh(frame), self.limits
            ),
            gaze_age_ms=(now_ns - before.t_ns) / 1e6,
            frame_age_ms=(now_ns - frame.capture_ns) / 1e6,
            embedding_age_ms=age_ms,
            stages_ms={"carry": (perf_counter_ns() - start) / 1e6},
            reused=True,
        )

    def _to_now(self, scene: Scene, capture_ns: int, trail: Trail, look: int | None) -> Motion:
        """The motion of what a look rests on, from a frame to the newest one."""
        assert scene.frame is not None, "asked only where there is one"
        camera = scene.motion_to_now(capture_ns)
        return self._along(trail, camera, capture_ns, scene.frame.capture_ns, scene, look)

    def _along(
        self, trail: Trail, camera: Motion, from_ns: int, to_ns: int, scene: Scene, look: int | None
    ) -> Motion:
        wh = scene.frame_wh
        assert wh is not None, "asked only where there is a frame"
        if from_ns > to_ns:
            back = trail.carries(camera.inverse(), to_ns, from_ns, self.gaze.scale(wh), look=look)
            return back.inverse()
        return trail.carries(camera, from_ns, to_ns, self.gaze.scale(wh), look=look)

    def nothing(self, scene: Scene, look: Filtered) -> Result:
        """No eye looks into the frame: there is nothing to show."""
        status: Status = "outside" if look.phase == "outside" else "no_gaze"
        return self._result(scene, look, status, self.clock())

    def _result(
        self,
        scene: Scene,
        look: Filtered,
        status: Status,
        began_ns: int,
        stages: dict[str, float] | None = None,
        *,
        masks: Masks | None = None,
        decoded: Masks | None = None,
        motion: Motion | None = None,
    ) -> Result:
        frame, embedding, sample = scene.frame, scene.embedding, look.sample
        assert frame is not None, "the scheduler asks for this later"
        now_ns = self.clock()
        seen_ns = scene.frame_at(sample.t_ns)
        to_now = Motion() if seen_ns is None else scene.motion_to_now(seen_ns)
        x_px, y_px = to_now.carry_point(look.x_px, look.y_px)
        embedding_ns = frame.capture_ns if embedding is None else embedding.capture_ns
        age_ms = (now_ns - embedding_ns) / 1e6
        is_same_frame = embedding_ns == frame.capture_ns
        waited = {"wait": (began_ns - sample.receive_ns) / 1e6, "total": (now_ns - sample.receive_ns) / 1e6}
        return Result(
            sample.t_ns,
            x_px,
            y_px,
            status,
            masks,
            None
            if masks is None
            else freshness(age_ms, is_same_frame, motion or Motion(), _wh(frame), self.limits),
            sample,
            gaze_age_ms=(now_ns - sample.t_ns) / 1e6,
            frame_age_ms=(now_ns - frame.capture_ns) / 1e6,
            embedding_age_ms=age_ms,
            stages_ms={} if stages is None else stages | waited,
            decoded=decoded,
            motion=motion or Motion(),
        )


def _wh(frame: Frame) -> tuple[int, int]:
    return frame.image.shape[1], frame.image.shape[0]


def _middle(box: TrackedBox) -> tuple[float, float]:
    if box.box_px is None:
        assert box.point_px is not None, "admit lets no box through that has neither"
        return box.point_px
    x0, y0, x1, y1 = box.box_px
    return (x0 + x1) / 2, (y0 + y1) / 2


def _inside(view: View, x_px: float, y_px: float) -> bool:
    left, top, width, height = view.window_xywh
    return left <= x_px <= left + width and top <= y_px <= top + height
