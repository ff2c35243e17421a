"""How good a nano is: clicks, gaze noise and boxes on pictures it never trained on.

    python -m sam_edge.training.evaluate --weights training/weights/nano.safetensors \
        --data ../shared/data --json out/eval.json --sheet out/eval.png
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from tqdm import tqdm

from sam_edge.errors import SamEdgeError
from sam_edge.files import atomic_path, write_bytes
from sam_edge.modeling.nano import Nano
from sam_edge.training.checkpoint import load_weights
from sam_edge.training.protocol import (
    Array,
    Case,
    ask,
    box_iou,
    clicks,
    coco_cases,
    davis_cases,
    encode,
    full_mask,
    mask_iou,
    one_point,
)
from sam_edge.training.simulate import FOREGROUND, centre_point

Row = dict[str, float]
DEGREES = (1.0, 2.0, 3.0)
DEGREE_SHARE = 0.01
RESAMPLES = 1000
TILE_PX = 256


def score_cases(model: Nano, cases: Iterable[Case], *, full: bool) -> list[Row]:
    """One row of numbers per object; `full` adds five clicks, boxes and pointing error."""
    rows: list[Row] = []
    rng = np.random.default_rng(0)
    for number, case in enumerate(cases):
        encoded = encode(model, case.image)
        degree_px = max(case.image.shape[:2]) * DEGREE_SHARE
        for mask in case.masks:
            centre = centre_point(mask)
            row = {"picture": float(number), "area": float(np.count_nonzero(mask))}
            row |= one_point(model, encoded, mask, centre)
            if full:
                row["five"] = clicks(model, encoded, mask, 5)
                row["box"] = box_iou(model, encoded, mask)
                for degrees in DEGREES:
                    point = displaced(centre, mask.shape, degrees * degree_px, rng)
                    noisy = one_point(model, encoded, mask, point)
                    row |= {f"{name}_{degrees:g}deg": noisy[name] for name in ("point", "oracle")}
            rows.append(row)
    return rows


def displaced(
    point: tuple[float, float], shape: tuple[int, ...], error_px: float, rng: np.random.Generator
) -> tuple[float, float]:
    """`point` with a Gaussian error whose mean length is `error_px`, kept inside the picture."""
    spread = error_px / np.sqrt(np.pi / 2.0)
    x, y = np.array(point) + rng.normal(0.0, spread, 2)
    return float(np.clip(x, 0, shape[1] - 1)), float(np.clip(y, 0, shape[0] - 1))


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval per column; pictures, not objects, are drawn again (bootstrap)."""
    rng = np.random.default_rng(0)
    pictures = np.array([row["picture"] for row in rows]).astype(int)
    amount = int(pictures.max()) + 1
    draws = rng.integers(0, amount, (RESAMPLES, amount))
    weights = np.stack([np.bincount(draw, minlength=amount)[pictures] for draw in draws])
    out: dict[str, dict[str, float]] = {}
    for name in [key for key in rows[0] if key not in {"picture", "area"}]:
        values = np.array([row[name] for row in rows])
        means = (weights @ values) / weights.sum(1)
        low, high = np.quantile(means, [0.025, 0.975])
        out[name] = {"mean": float(values.mean()), "low": float(low), "high": float(high)}
    return out


def by_size(rows: list[Row], name: str) -> dict[str, float]:
    """Mean of column `name` for COCO's small, medium and large objects (32^2 and 96^2 px)."""
    sizes = {"medium": (32**2, 96**2), "large": (96**2, np.inf)}
    chosen = {
        size: [row[name] for row in rows if low <= row["area"] < high] for size, (low, high) in sizes.items()
    }
    return {size: float(np.mean(values)) for size, values in chosen.items() if values}


def draw_case(model: Nano, case: Case, mask: Array) -> Array:
    """A tile (TILE_PX, TILE_PX, 3) RGB: answer in green, label outlined in white, click in red."""
    encoded = encode(model, case.image)
    x, y = centre_point(mask)
    logits, iou = ask(model, encoded, [(x, y, FOREGROUND)])
    shown = full_mask(logits[1 + int(iou[1:].argmax())], encoded)
    tile = case.image.copy()
    tile[shown] = tile[shown] // 2 + np.array([0, 127, 0], np.uint8)
    outline = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(tile, outline, -1, (255, 255, 255), 1)
    cv2.circle(tile, (round(x), round(y)), 6, (255, 0, 0), -1)
    scale = TILE_PX / max(tile.shape[:2])
    tile = cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((TILE_PX, TILE_PX, 3), 32, np.uint8)
    canvas[: tile.shape[0], : tile.shape[1]] = tile[:TILE_PX, :TILE_PX]
    text = f"{mask_iou(shown, mask):.2f} said {iou[1:].max():.2f}"
    cv2.putText(canvas, text, (4, TILE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
    return canvas


def draw_sheet(model: Nano, cases: list[Case], path: Path, columns: int = 6, rows: int = 4) -> None:
    """`columns` x `rows` random objects with the click and the surest mask, as a PNG."""
    rng = np.random.default_rng(1)
    chosen = rng.choice(len(cases), min(columns * rows, len(cases)), replace=False)
    tiles = [draw_case(model, cases[k], cases[k].masks[rng.integers(len(cases[k].masks))]) for k in chosen]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    bands = [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
    sheet = np.concatenate(bands, 0)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


@click.command()
@click.option("--weights", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--json", "report", type=click.Path(path_type=Path), help="write the numbers here")
@click.option("--sheet", type=click.Path(path_type=Path), help="draw 24 random answers here")
@click.option("--limit", type=int, help="COCO pictures to use; all when left out")
@click.option("--threads", type=int, default=2, show_default=True)
def main(
    weights: Path, data: Path, report: Path | None, sheet: Path | None, limit: int | None, threads: int
) -> None:
    """Score deployed weights on COCO val and on DAVIS 2016."""
    torch.set_num_threads(threads)
    try:
        model = load_weights(weights)
        coco = list(coco_cases(data, limit))
        tables = {
            "coco_val": score_cases(model, tqdm(coco, "coco val"), full=True),
            "davis2016": score_cases(model, tqdm(list(davis_cases(data)), "davis2016"), full=False),
        }
        results = {
            name: {"objects": len(rows), "scores": summary(rows), "point": by_size(rows, "point")}
            for name, rows in tables.items()
        }
        for name, result in results.items():
            click.echo(f"{name}: {result['objects']} objects, IoU")
            for column, score in summary(tables[name]).items():
                click.echo(f"  {column:<12} {score['mean']:.3f}  [{score['low']:.3f}, {score['high']:.3f}]")
        if report is not None:
            write_bytes(report, json.dumps(results, indent=1).encode())
        if sheet is not None:
            draw_sheet(model, coco, sheet)
    except SamEdgeError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
