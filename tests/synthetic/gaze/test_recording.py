"""The simulated gaze: on its target, paced as eyes are, and written as recordings are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError, OutputError
from sam_edge.streaming.gaze.recordings.csv import read_gaze_csv
from sam_edge.synthetic.gaze.eye_movements import EyeEvent, Eyes, plan_eye_movements, point_at
from sam_edge.synthetic.gaze.recording import SimulatedGaze, simulate_gaze, write_gaze_csv
from sam_edge.synthetic.scene import Scene

SIZE = (256, 160)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(seed=2, width=SIZE[0], height=SIZE[1], duration_s=24.0, object_count=9)


@pytest.fixture(scope="module")
def clean(scene: Scene) -> list[SimulatedGaze]:
    """Without any error of measurement."""
    return simulate_gaze(scene, noise_deg=0.0, offset_deg=0.0, drift_deg=0.0)


@pytest.fixture(scope="module")
def noisy(scene: Scene) -> list[SimulatedGaze]:
    return simulate_gaze(scene, noise_deg=0.5, offset_deg=0.8, drift_deg=0.1)


@pytest.fixture(scope="module")
def events(scene: Scene) -> list[EyeEvent]:
    return plan_eye_movements(Eyes(scene), np.random.default_rng([scene.seed, 3]))


def whole_events(events: list[EyeEvent], phase: str) -> Iterator[EyeEvent]:
    return (event for event in events[1:-1] if event.phase == phase)


def test_a_seed_gives_the_same_gaze(scene: Scene, noisy: list[SimulatedGaze]) -> None:
    short = Scene(seed=5, width=96, height=64, duration_s=1.0)
    assert repr(simulate_gaze(short)) == repr(simulate_gaze(short))
    assert repr(simulate_gaze(short)) != repr(simulate_gaze(short, seed=6))
    assert [s.t_ns for s in noisy[:3]] == [0, 8_333_333, 16_666_667]
    assert len(noisy) == 24 * 120


def test_dwells_lie_on_the_mask_of_their_target(scene: Scene, clean: list[SimulatedGaze]) -> None:
    hits, looks = 0, 0
    for index in range(0, scene.frame_count, 3):
        sample = clean[index * 4]
        if sample.phase in ("fixation", "pursuit"):
            looks += 1
            row, column = round(sample.y_px), round(sample.x_px)
            inside = 0 <= row < SIZE[1] and 0 <= column < SIZE[0]
            hits += inside and int(scene.labels(index)[row, column]) == sample.target_id > 0
    assert looks > 150
    assert hits >= 0.99 * looks


def test_events_follow_one_another_without_gaps(events: list[EyeEvent]) -> None:
    for one, next_one in pairwise(events):
        assert one.end_s == next_one.start_s
        assert one.goal == next_one.start
        assert (one.phase in ("fixation", "pursuit")) != (next_one.phase in ("fixation", "pursuit"))
    assert len({event.goal.label for event in events}) >= 4


def test_dwells_last_as_fixations_and_pursuits_do(events: list[EyeEvent]) -> None:
    fixations = [e.end_s - e.start_s for e in whole_events(events, "fixation")]
    pursuits = [e.end_s - e.start_s for e in whole_events(events, "pursuit")]
    assert len(fixations) >= 10
    assert len(pursuits) >= 5
    assert min(fixations + pursuits) >= 0.15 - 1e-9
    assert max(fixations) <= 0.6 + 1e-9
    assert 0.2 < np.median(fixations) < 0.45
    assert max(pursuits) <= 1.4 + 1e-9


def test_pursuit_is_of_what_moves(scene: Scene, events: list[EyeEvent]) -> None:
    moving = {item.label for item in scene.world.items if item.path.moves}
    assert {event.goal.label for event in events if event.phase == "pursuit"} <= moving


def test_saccades_keep_to_the_main_sequence(scene: Scene, events: list[EyeEvent]) -> None:
    eyes = Eyes(scene)
    saccades = list(whole_events(events, "saccade"))
    assert len(saccades) > 20
    for saccade in saccades:
        took_s = saccade.end_s - saccade.start_s
        way_deg = eyes.angle_deg(
            eyes.on_plane(saccade.start, saccade.start_s), eyes.on_plane(saccade.goal, saccade.end_s)
        )
        assert took_s == pytest.approx(0.021 + 0.0022 * way_deg, abs=0.004)
        if way_deg < 4:
            continue
        to_plane = scene.world.frame_to_plane
        times = np.linspace(saccade.start_s, saccade.end_s, 41)
        rays = [np.append(point_at(eyes, saccade, float(t)), 1.0) for t in times]
        seen = [to_plane(float(t)) @ ray for t, ray in zip(times, rays, strict=True)]
        points = [ray[:2] / ray[2] for ray in seen]
        steps = [eyes.angle_deg(a, b) for a, b in pairwise(points)]
        peak_deg_s = max(steps) / (took_s / 40)
        assert peak_deg_s == pytest.approx(1.875 * way_deg / took_s, rel=0.15)
        assert 80 < peak_deg_s < 900


def test_blinks_are_rare_short_and_without_a_place(events: list[EyeEvent], noisy: list[SimulatedGaze]) -> None:
    blinks = list(whole_events(events, "blink"))
    assert 3 <= len(blinks) <= 8
    assert all(0.1 <= e.end_s - e.start_s <= 0.3 for e in blinks)
    gaps = [b.start_s - a.end_s for a, b in pairwise(blinks)]
    assert all(2.9 <= gap <= 7.6 for gap in gaps)
    for sample in noisy:
        closed = sample.phase == "blink"
        assert math.isnan(sample.x_px) == math.isnan(sample.y_px) == closed
        assert sample.confidence == 0.0 if closed else 0.8 < sample.confidence <= 1.0
    assert 0.01 < sum(s.phase == "blink" for s in noisy) / len(noisy) < 0.1


def test_errors_have_the_size_asked_for(
    scene: Scene, clean: list[SimulatedGaze], noisy: list[SimulatedGaze]
) -> None:
    assert [s.phase for s in clean] == [s.phase for s in noisy]
    error = np.array([(n.x_px - c.x_px, n.y_px - c.y_px) for n, c in zip(noisy, clean, strict=True)])
    error = error[np.isfinite(error[:, 0])] / scene.px_per_degree
    assert np.hypot(*error.mean(axis=0)) == pytest.approx(0.8, abs=0.1)
    steps = np.diff(error, axis=0)
    assert np.sqrt((steps**2).sum(axis=1).mean() / 2) == pytest.approx(0.5, rel=0.1)
    spread = error - error.mean(axis=0)
    assert np.sqrt((spread**2).sum(axis=1).mean()) == pytest.approx(np.hypot(0.5, 0.1), rel=0.1)


def test_a_recording_reads_back(tmp_path: Path, noisy: list[SimulatedGaze]) -> None:
    path = tmp_path / "gaze.csv"
    write_gaze_csv(path, noisy, *SIZE)
    read = read_gaze_csv(path)
    assert [s.t_ns for s in read] == [s.t_ns for s in noisy]
    for before, after in zip(noisy, read, strict=True):
        assert after.confidence == pytest.approx(before.confidence, abs=1e-4)
        if before.phase != "blink":
            assert after.to_px(SIZE) == pytest.approx((before.x_px, before.y_px), abs=1e-4)
    for phase, run in groupby(zip(noisy, pairwise(read), strict=False), lambda item: item[0].phase):
        if phase == "blink":
            held = [(b.x_norm, b.y_norm) for _, (_, b) in list(run)[:-1]]
            assert len(set(held)) <= 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            # Apart and aside as an eye tracker's samples may be; more is refused as another unit.
            st.integers(0, 10**9),
            st.floats(-500, 1200),
            st.floats(-500, 700),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
def test_any_samples_read_back(tmp_path: Path, rows: list[tuple[int, float, float, bool]]) -> None:
    samples = [
        SimulatedGaze(t, math.nan, math.nan, 0.0, "blink", 1)
        if closed
        else SimulatedGaze(t, x, y, 0.9, "fixation", 1)
        for t, x, y, closed in sorted(rows)
    ]
    write_gaze_csv(tmp_path / "any.csv", samples, *SIZE)
    read = read_gaze_csv(tmp_path / "any.csv")
    for before, after in zip(samples, read, strict=True):
        assert abs(after.t_ns - before.t_ns) <= 1
        if before.phase != "blink":
            assert after.to_px(SIZE) == pytest.approx((before.x_px, before.y_px), abs=1e-4)


def test_an_empty_desk_still_has_a_gaze() -> None:
    scene = Scene(seed=0, width=32, height=32, duration_s=0.5, object_count=1)
    samples = simulate_gaze(scene, rate_hz=60.0)
    assert len(samples) == 30
    assert all(sample.target_id in (0, 1) for sample in samples)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_hz", 0.0),
        ("rate_hz", 1e6),
        ("rate_hz", math.nan),
        ("noise_deg", -0.1),
        ("offset_deg", math.inf),
        ("drift_deg", 100.0),
        ("seed", -1),
    ],
)
def test_impossible_eyes_are_refused(scene: Scene, name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        simulate_gaze(scene, **{name: value})  # type: ignore[arg-type]  # the keyword varies, and so its type


def test_what_cannot_be_written_is_said(tmp_path: Path, clean: list[SimulatedGaze]) -> None:
    with pytest.raises(InputError, match="no gaze samples"):
        write_gaze_csv(tmp_path / "none.csv", [], *SIZE)
    with pytest.raises(InputError, match="0x160"):
        write_gaze_csv(tmp_path / "flat.csv", clean, 0, 160)
    with pytest.raises(OutputError, match="cannot write"):
        write_gaze_csv(tmp_path, clean, *SIZE)
    assert list(tmp_path.iterdir()) == []
