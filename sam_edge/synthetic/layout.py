"""What stands where: the objects of a desk, some at rest, some moving in front of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sam_edge.synthetic.motion import Path
from sam_edge.synthetic.objects import boxes, vessels
from sam_edge.synthetic.objects.balls import Ball, ball
from sam_edge.synthetic.objects.lathe import Viewpoint
from sam_edge.synthetic.objects.sprite import Sprite
from sam_edge.synthetic.room import EYE_CM, WALL_CM
from sam_edge.synthetic.shadows import Shadow, table_shadow, wall_shadow

Maker = Callable[[np.random.Generator, Viewpoint, float], Sprite]


@dataclass(frozen=True)
class Kind:
    """How to draw an object and how big its foot is."""

    make: Maker
    half_wide_cm: float
    half_deep_cm: float
    tall_cm: float


KINDS = {
    "mug": Kind(vessels.mug, 4.3, 4.3, 9.5),
    "bottle": Kind(vessels.bottle, 3.5, 3.5, 19.0),
    "pencil cup": Kind(vessels.pencil_cup, 3.9, 3.9, 12.0),
    "plant": Kind(vessels.plant, 5.0, 5.0, 15.0),
    "fruit": Kind(vessels.fruit, 3.2, 3.2, 7.0),
    "books": Kind(boxes.books, 8.0, 5.6, 5.0),
    "carton": Kind(boxes.carton, 5.2, 3.6, 11.0),
}


@dataclass(frozen=True, eq=False)
class Item:
    """One object. `look` is an image, or a ball, which is drawn for every frame."""

    label: int
    name: str
    look: Sprite | Ball
    path: Path
    shadow: Shadow


def furnish(rng: np.random.Generator, count: int, focal_px: float) -> tuple[Item, ...]:
    """`count` objects with labels 1..count: the first three move, as does one more in five."""
    items = [
        maker(rng, label, focal_px)
        for label, maker in enumerate((_rolling_ball, _car, _lantern)[:count], start=1)
    ]
    names = list(rng.permutation(list(KINDS)))
    names += [str(name) for name in rng.choice(list(KINDS), max(0, count - 3 - len(names)))]
    standing = max(0, count - 3)
    slots = np.linspace(-40, 40, standing) if standing > 1 else np.zeros(1)
    for number, x_cm in enumerate(rng.permutation(slots)[:standing]):
        label = len(items) + 1
        items.append(_standing(rng, label, str(names[number]), float(x_cm), focal_px))
    return tuple(items)


def _standing(rng: np.random.Generator, label: int, name: str, x_cm: float, focal_px: float) -> Item:
    kind = KINDS[name]
    x = x_cm + rng.uniform(-4, 4)
    z = rng.uniform(62, 84) - 4 * (kind.tall_cm < 8)
    pushed = rng.uniform() < 0.2
    path = Path(
        x_cm=float(x),
        y_cm=0.0,
        z_cm=float(z),
        reach_x_cm=float(rng.uniform(5, 9)) if pushed else 0.0,
        period_s=float(rng.uniform(4, 6)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        linger=3.0,
    )
    view, scale = Viewpoint(EYE_CM, float(z)), _scale(focal_px, float(z))
    look = kind.make(rng, view, scale)
    shadow = table_shadow(kind.half_wide_cm, kind.half_deep_cm, kind.tall_cm, view, scale)
    return Item(label, name, look, path, shadow)


def _rolling_ball(rng: np.random.Generator, label: int, focal_px: float) -> Item:
    radius, z = float(rng.uniform(3.6, 5.2)), float(rng.uniform(56, 60))
    path = Path(
        x_cm=float(rng.uniform(-8, 8)),
        y_cm=radius,
        z_cm=z,
        reach_x_cm=float(rng.uniform(15, 22)),
        reach_z_cm=float(rng.uniform(2, 5)),
        period_s=float(rng.uniform(5, 8)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        roll_radius_cm=radius,
        start_spin=(float(rng.uniform(-1, 1)), float(rng.uniform(-2, 2)), float(rng.uniform(-1, 1))),
    )
    scale = _scale(focal_px, z - path.reach_z_cm)
    view = Viewpoint(EYE_CM, z)
    shadow = table_shadow(radius * 0.75, radius * 0.75, radius, view, scale)
    lowered = Shadow(shadow.dark, shadow.anchor_px, shadow.px_per_cm, (0.0, -radius))
    return Item(label, "ball", ball(rng, radius, scale), path, lowered)


def _car(rng: np.random.Generator, label: int, focal_px: float) -> Item:
    z = float(rng.uniform(70, 76))
    path = Path(
        x_cm=float(rng.uniform(-8, 8)),
        y_cm=0.0,
        z_cm=z,
        reach_x_cm=float(rng.uniform(14, 24)),
        period_s=float(rng.uniform(6, 9)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        linger=1.6,
    )
    view, scale = Viewpoint(EYE_CM, z), _scale(focal_px, z)
    shadow = table_shadow(7.2, 2.6, 4.0, view, scale)
    return Item(label, "toy car", boxes.toy_car(rng, view, scale), path, shadow)


def _lantern(rng: np.random.Generator, label: int, focal_px: float) -> Item:
    z = float(rng.uniform(82, 94))
    path = Path(
        x_cm=float(rng.uniform(-26, 26)),
        y_cm=float(rng.uniform(90, 96)),
        z_cm=z,
        swing_rad=float(rng.uniform(0.08, 0.15)),
        period_s=float(rng.uniform(2.4, 3.4)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
    scale = _scale(focal_px, z)
    look = vessels.lantern(rng, Viewpoint(EYE_CM, z), scale)
    return Item(label, "lantern", look, path, wall_shadow(look, WALL_CM))


def _scale(focal_px: float, z_cm: float) -> float:
    """Sprite pixels per centimetre: a little finer than the image shows the object."""
    return 1.1 * focal_px / z_cm
