"""The rendered scene: same seed same bytes, exact masks, true homographies, refused arguments."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.synthetic.camera import head_motion
from sam_edge.synthetic.objects.balls import Ball
from sam_edge.synthetic.render import draw, draw_labels
from sam_edge.synthetic.scene import Scene
from sam_edge.synthetic.world import apply

SMALL: dict[str, Any] = {"width": 256, "height": 160, "duration_s": 3.0}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(seed=3, **SMALL)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000), index=st.integers(0, 89))
def test_a_seed_gives_the_same_bytes_in_any_order(seed: int, index: int) -> None:
    one, two = Scene(seed=seed, **SMALL), Scene(seed=seed, **SMALL)
    two.frame((index + 7) % two.frame_count)
    a, b = one.frame(index), two.frame(index)
    assert a.image.tobytes() == b.image.tobytes()
    assert a.labels.tobytes() == b.labels.tobytes()
    assert np.array_equal(a.to_first, b.to_first)
    assert a.capture_ns == b.capture_ns
    assert np.array_equal(a.labels, one.labels(index))
    other = Scene(seed=seed + 1, **SMALL).frame(index)
    assert not np.array_equal(a.image, other.image)
    assert not np.array_equal(a.labels, other.labels)


def test_a_frame_is_a_image_with_one_label_a_pixel(scene: Scene) -> None:
    frame = scene.frame(10)
    assert frame.image.shape == (160, 256, 3)
    assert frame.labels.shape == (160, 256)
    assert frame.image.dtype == frame.labels.dtype == np.uint8
    assert frame.capture_ns == 333_333_333
    assert set(np.unique(frame.labels)) <= {0, *scene.names}
    assert 5 <= len(scene.names) <= 9
    assert frame.image.std() > 20
    assert len(list(Scene(seed=1, width=64, height=48, duration_s=0.2, object_count=1).frames())) == 6


@pytest.mark.parametrize("index", [0, 45])
def test_an_object_changes_its_mask_and_its_shadow_only(scene: Scene, index: int) -> None:
    size = (scene.width, scene.height)
    whole, labels = draw(scene.world, index / scene.fps, size)
    margin = np.ones((5, 5), np.uint8)
    assert (np.unique(labels, return_counts=True)[1] > 100).sum() > 3
    for label in np.unique(labels)[1:]:
        without, others = draw(scene.world, index / scene.fps, size, hidden={int(label)})
        mask = labels == label
        alone = draw_labels(scene.world, index / scene.fps, size, set(scene.names) - {int(label)})
        near = cv2.dilate((alone == label).astype(np.uint8), margin).astype(bool)
        change = whole.astype(int) - without.astype(int)
        # What the object takes away outside of its mask is light: its shadow makes nothing brighter.
        assert change[~near].max() <= 0
        assert label not in others
        assert np.array_equal(labels[~mask], others[~mask])
        if mask.sum() > 100:
            assert (np.abs(change).max(axis=2) > 4)[mask].mean() > 0.5


@pytest.mark.parametrize("index", [0, 24, 120, 200])
def test_the_nearest_object_has_the_pixel(index: int) -> None:
    scene = Scene(seed=8, width=256, height=160, object_count=9)
    t_s, size = index / scene.fps, (scene.width, scene.height)
    nearest = np.full((scene.height, scene.width), np.inf)
    expected = np.zeros((scene.height, scene.width), np.uint8)
    seen_twice = 0
    for item in scene.world.items:
        alone = draw_labels(scene.world, t_s, size, set(scene.names) - {item.label})
        assert set(np.unique(alone)) <= {0, item.label}
        depth_cm = item.path.at(t_s).z_cm
        seen_twice += int(((alone > 0) & (expected > 0)).sum())
        wins = (alone > 0) & (depth_cm < nearest)
        nearest[wins], expected[wins] = depth_cm, item.label
    assert np.array_equal(scene.labels(index), expected)
    assert seen_twice > 20


def test_a_ball_covers_the_ellipse_its_outline_is_seen_as() -> None:
    scene = Scene(seed=1, width=640, height=360, object_count=1, duration_s=1.0)
    item = scene.world.items[0]
    assert isinstance(item.look, Ball)
    sprite = item.look.sprite(np.eye(3))
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius_px = item.path.roll_radius_cm * sprite.px_per_cm
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) * radius_px + sprite.anchor_px[0] - 0.5
    to_plane = scene.world.sprite_to_plane(item, sprite, item.path.at(0.5))
    to_frame = np.linalg.inv(scene.world.frame_to_plane(0.5)) @ to_plane
    outline = apply(to_frame, ring)
    assert outline.min() > 0
    area = cv2.contourArea(outline.astype(np.float32))
    mask = scene.labels(15) == item.label
    assert mask.sum() == pytest.approx(area, rel=0.02)
    rows, columns = np.nonzero(mask)
    assert np.abs(outline.min(axis=0) - (columns.min(), rows.min())).max() < 1.2
    assert np.abs(outline.max(axis=0) - (columns.max(), rows.max())).max() < 1.2


def test_objects_move() -> None:
    scene = Scene(seed=8, width=256, height=160, object_count=9)
    moving = [item for item in scene.world.items if item.path.moves]
    assert len(moving) >= 3
    for item in moving:
        places = [item.path.at(t / 10) for t in range(80)]
        assert np.ptp([p.x_cm + 40 * p.tilt_rad for p in places]) > 5


@pytest.mark.parametrize("seed", [0, 4])
def test_the_homography_carries_the_background_to_the_first_frame(seed: int) -> None:
    scene = Scene(seed=seed, width=320, height=192, duration_s=4.0)
    nothing = set(scene.names)
    first = scene.frame(0, hidden=nothing)
    for index in (20, 75, 119):
        frame = scene.frame(index, hidden=nothing)
        size = (scene.width, scene.height)
        ones = np.ones((scene.height, scene.width), np.uint8)
        known = cv2.erode(cv2.warpPerspective(ones, frame.to_first, size), np.ones((9, 9)))

        def error(homography: Any, image: Any = frame.image, known: Any = known) -> float:
            size = (scene.width, scene.height)
            carried = cv2.warpPerspective(image, homography, size).astype(float)
            away = np.abs(carried - first.image)[known > 0]
            return float(away.mean())

        assert (known > 0).mean() > 0.3
        shifted = np.array([[1, 0, 2.0], [0, 1, 2.0], [0, 0, 1]]) @ frame.to_first
        assert error(frame.to_first) < 9
        assert error(frame.to_first) < 0.75 * error(shifted)


def test_the_homography_is_the_motion_of_the_room() -> None:
    scene = Scene(seed=5, width=320, height=192, duration_s=3.0)
    points = np.array([[10.0, 20.0], [300.0, 30.0], [150.0, 180.0]])
    frame, first = scene.frame(50), scene.frame(0)
    assert np.allclose(apply(first.to_world, apply(frame.to_first, points)), apply(frame.to_world, points))
    assert np.allclose(first.to_first, np.eye(3))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_head_sways_and_turns_as_heads_do(seed: int) -> None:
    motion = head_motion(np.random.default_rng(seed), 8.0)
    times = np.arange(0, 8, 0.005)
    angles = np.array([motion.angles_deg(float(t)) for t in times])
    speed = np.hypot(*np.diff(angles[:, :2], axis=0).T) / 0.005
    assert 40 < speed.max() < 130
    assert np.median(speed) < 20
    assert np.abs(np.diff(speed)).max() < 15
    assert np.abs(angles[:, 0]).max() < 40


@pytest.mark.parametrize("speed", [-90.0, 40.0])
def test_a_head_may_turn_steadily(speed: float) -> None:
    scene = Scene(seed=2, width=320, height=192, duration_s=0.5, pan_deg_s=speed)
    yaw = np.array([scene.world.motion.angles_deg(t)[0] for t in np.arange(0, 0.5, 0.01)])
    assert np.diff(yaw) / 0.01 == pytest.approx(speed, abs=12)
    assert yaw[0] + yaw[-1] == pytest.approx(0, abs=8)
    assert scene.frame(14).image.std() > 20


def test_degrees_become_pixels() -> None:
    scene = Scene(width=640, height=360, fov_deg=75.0)
    assert scene.px_per_degree == pytest.approx(7.28, abs=0.01)
    assert scene.focal_px == pytest.approx(320 / np.tan(np.deg2rad(37.5)))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"width": -640}, "width"),
        ({"width": 0}, "width"),
        ({"height": 10**6}, "height"),
        ({"height": 33.5}, "height"),
        ({"width": 2048, "height": 64}, "aspect"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"duration_s": -1.0}, "duration_s"),
        ({"duration_s": float("inf")}, "duration_s"),
        ({"fps": 1000.0, "duration_s": 3600.0}, "frames"),
        ({"fov_deg": 170.0}, "fov_deg"),
        ({"seed": -1}, "seed"),
        ({"object_count": 0}, "object_count"),
        ({"object_count": 99}, "object_count"),
        ({"pan_deg_s": 50.0, "duration_s": 2.0}, "pan_deg_s"),
        ({"pan_deg_s": float("nan")}, "pan_deg_s"),
    ],
)
def test_impossible_scenes_are_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name) as caught:
        Scene(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [-1, 90, 1.5])
def test_frames_outside_of_the_scene_are_refused(scene: Scene, index: Any) -> None:
    with pytest.raises(InputError, match=r"frames 0\.\.89"):
        scene.frame(index)
