"""What a run leaves for people: its log as CSV, and its learning curves as an image."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

from sam_edge.storage.files import atomic_path

COLUMNS = ("step", "minutes", "size", "rate", "loss", "dense", "train_point", "train_oracle", "train_box")
VAL_COLUMNS = ("val_point", "val_oracle", "val_single", "val_box")


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """The log as CSV, one line per evaluation."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *VAL_COLUMNS])
        writer.writeheader()
        writer.writerows({k: round(v, 5) for k, v in row.items()} for row in rows)


def draw_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """Loss and IoU against minutes as an image."""
    figure = Figure(figsize=(13, 4))
    axes = figure.subplots(1, 2, gridspec_kw={"wspace": 0.45})
    minutes = [row["minutes"] for row in rows]
    for name in ("loss", "dense"):
        axes[0].plot(minutes, [row[name] for row in rows], label=name)
    for name in ("train_point", "train_oracle", "train_box", *VAL_COLUMNS):
        axes[1].plot(minutes, [row[name] for row in rows], label=name)
    for axis in axes:
        axis.set_xlabel("minutes")
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the curves, not over them
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90, bbox_inches="tight")
