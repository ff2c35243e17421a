"""Objects that are kept while the gaze is elsewhere: one step for each new embedding."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns

from sam_edge.errors import InputError
from sam_edge.prompt import Prompt
from sam_edge.streaming.answers.answerer import Answerer, InForce
from sam_edge.streaming.answers.freshness import freshness
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.follow import Attempt, FollowConfig, Followed, attempt, begin, judge
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.flow import SmallFrame
from sam_edge.streaming.motion.object_motion import object_motion
from sam_edge.streaming.result import Result

MAX_FOLLOWED = 8
"""As many as go through a decoder in one run."""


@dataclass(frozen=True, eq=False)
class Kept:
    """An object that is followed, and the frame its mask lies on."""

    object: Followed
    capture_ns: int
    small: SmallFrame


def keep(object_id: int, in_force: InForce) -> Kept:
    """Follow what is masked now from here on.

    Raises:
        InputError: the mask is empty.
    """
    if in_force.small is None:
        raise InputError("nothing is masked yet", hint="look at something first")
    return Kept(begin(object_id, in_force.chosen, in_force.embedding), in_force.capture_ns, in_force.small)


def follow(
    answerer: Answerer, scene: Scene, kept: tuple[Kept, ...], config: FollowConfig
) -> tuple[list[Kept | None], list[Result]]:
    """Find every object on the newest embedding, in one batched decode.

    Returns:
        For each object what it is now, None if it is lost; and its result: the mask on the newest frame, or
        `lost`.
    """
    embedding, small = scene.embedding, scene.embedding_small
    assert embedding is not None, "the scheduler asks for this later"
    start = perf_counter_ns()
    tries: list[tuple[Kept, Attempt | None]] = []
    for one in kept:
        camera = scene.chain.between(one.capture_ns, embedding.capture_ns)
        moved = camera if small is None else object_motion(one.small, small, one.object.masks, camera)
        takes_masks = answerer.segmenter.takes_masks
        tried = attempt(one.object, moved, takes_masks=takes_masks, view=embedding.view, config=config)
        tries.append((one, tried))
    prompts: list[Prompt] = [tried.prompt for _, tried in tries if tried is not None]
    answers = iter(answerer.segmenter.decode_batch(embedding, prompts) if prompts else ())
    decode_ms = (perf_counter_ns() - start) / 1e6
    after: list[Kept | None] = []
    results = []
    for one, tried in tries:
        answer = None if tried is None else next(answers)
        now = judge(one.object, tried, answer, embedding, config)
        after.append(None if now.status == "lost" or small is None else Kept(now, embedding.capture_ns, small))
        results.append(_result(answerer, scene, now, decode_ms))
    return after, results


def _result(answerer: Answerer, scene: Scene, found: Followed, decode_ms: float) -> Result:
    embedding, frame = scene.embedding, scene.frame
    assert embedding is not None, "it was decoded"
    assert frame is not None, "it was decoded"
    motion = scene.motion_to_now(embedding.capture_ns)
    start = perf_counter_ns()
    masks = None if found.status == "lost" else carry_masks(found.masks, motion)
    now_ns = answerer.clock()
    age_ms = (now_ns - embedding.capture_ns) / 1e6
    state = freshness(
        age_ms, embedding.capture_ns == frame.capture_ns, motion, embedding.view.frame_wh, answerer.limits
    )
    x0, y0, x1, y1 = (masks.rough_box_px() if masks is not None else None) or (0.0, 0.0, 0.0, 0.0)
    return Result(
        embedding.capture_ns,
        (x0 + x1) / 2,
        (y0 + y1) / 2,
        "lost" if masks is None else "mask",
        masks,
        None if masks is None else "stale" if found.status == "unsure" else state,
        object_id=found.object_id,
        gaze_age_ms=age_ms,
        frame_age_ms=(now_ns - frame.capture_ns) / 1e6,
        embedding_age_ms=age_ms,
        stages_ms={"decode": decode_ms, "carry": (perf_counter_ns() - start) / 1e6},
        motion=motion,
    )
