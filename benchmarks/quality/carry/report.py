"""The experiment as tables, and as the image that heads the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sam_edge.errors import MissingExtraError
from sam_edge.storage.files import atomic_path

from .methods import WINDOWS

METHODS = {
    "none": ("(a) nothing is done", "#c0392b"),
    "carried": ("(b) carried with the camera", "#1f6fb4"),
    "followed": ("(b) and with what the gaze follows", "#8e44ad"),
}
FRESH = {
    "window": ("(c) window encoded afresh, {ms:.0f} ms old", "--", "#2e8b57"),
    "window_carried": ("(c) of the frame before, carried", ":", "#2e8b57"),
}
DRAWN_SPEEDS = ("0", "50", "100", "200")


def tables(document: Mapping[str, Any]) -> str:
    """Markdown: a table of each data set, and of what measured motions say of themselves."""
    costs = document["costs_ms"]
    lines = ["Encode and decode, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in costs.items())]
    for name, found in document["sets"].items():
        lines += ["", f"{name}: {found['looks']} looks", ""]
        lines += [
            "| deg/s | age ms | (a) | (b) | (b) followed | (b) at rest | looks | in view | motion known |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        still = {(cell["speed"], cell["age_ms"]): cell for cell in found["at_rest"]}
        for cell in found["cells"]:
            rest = still.get((cell["speed"], cell["age_ms"]))
            ious = [_iou(cell, method) for method in METHODS] + [_iou(rest, "carried")]
            lines.append(
                f"| {cell['speed']} | {cell['age_ms']:.0f} | {' | '.join(ious)} | {cell['looks']} "
                f"| {cell['in_view']:.0%} | {cell['known']:.0%} |"
            )
        lines += ["", "| deg/s | (c) window | of the frame before, carried | (c) larger window | carried |"]
        lines += ["|---|---|---|---|---|"]
        for speed, cells in _by_speed(found).items():
            both = [_fresh(cells, f"{name}{kind}") for name in WINDOWS for kind in ("", "_carried")]
            lines.append(f"| {speed} | {' | '.join(_iou(cell, method) for method, cell in both)} |")
        lines += ["", "| motion | looks | true mask carried, IoU | (b) IoU | error px, median / p95 |"]
        lines += ["|---|---|---|---|---|"]
        for row in found["confidence"]:
            errors = "-" if row["error_px_p95"] is None else f"{row['error_px_median']} / {row['error_px_p95']}"
            lines.append(
                f"| {row['group']} | {row['looks']} | {row['truth_carried']:.3f} | {row['carried']:.3f} "
                f"| {errors} |"
            )
    return "\n".join(lines)


def draw(path: Path, document: Mapping[str, Any]) -> None:
    """IoU against age, a panel for each speed, a row for each data set.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    sets = {name: _panels(found) for name, found in document["sets"].items()}
    columns = max(len(panels) for panels in sets.values())
    figure = Figure(figsize=(10.5, 2.75 * len(sets) + 0.5), layout="constrained")
    axes = figure.subplots(len(sets), columns, squeeze=False, sharex=True, sharey=True)
    for row, (name, panels) in zip(axes, sets.items(), strict=True):
        for axis, (speed, cells) in zip(row, panels.items(), strict=False):
            _panel(axis, cells, document["costs_ms"])
            axis.set_title(f"{speed} deg/s", fontsize=10)
        for axis in row[len(panels) :]:
            axis.set_axis_off()
        row[0].set_ylabel(f"{name}\nmask IoU", fontsize=10)
        for axis in row[: len(panels)]:
            axis.set_xlabel("age of the encoded frame, ms", fontsize=9)
            axis.tick_params(labelsize=8, labelbottom=True)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=10, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format=path.suffix[1:] or "png")


def _by_speed(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    speeds = dict.fromkeys(cell["speed"] for cell in found["cells"])
    return {speed: [cell for cell in found["cells"] if cell["speed"] == speed] for speed in speeds}


def _panels(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    speeds = _by_speed(found)
    if len(speeds) <= len(DRAWN_SPEEDS):
        return speeds
    return {speed: cells for speed, cells in speeds.items() if speed in DRAWN_SPEEDS}


def _fresh(cells: Sequence[Mapping[str, Any]], method: str) -> tuple[str, Mapping[str, Any] | None]:
    """A method, and the cell of a speed that it was measured in."""
    return method, next((cell for cell in cells if method in cell["iou"]), None)


def _panel(axis: Any, cells: list[dict[str, Any]], costs: Mapping[str, float]) -> None:
    for method, (label, colour) in METHODS.items():
        known = [cell for cell in cells if method in cell["iou"]]
        ages = [cell["age_ms"] for cell in known]
        low, mean, high = ([cell["iou"][method][key] for cell in known] for key in ("low", "mean", "high"))
        axis.fill_between(ages, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(ages, mean, "o-", color=colour, markersize=3, label=label)
    for method, (label, style, colour) in FRESH.items():
        _, cell = _fresh(cells, method)
        if cell is not None:
            mean = cell["iou"][method]["mean"]
            told = label.format(ms=costs["window"])
            axis.axhline(mean, color=colour, linestyle=style, linewidth=1.6, label=told)
    axis.set_ylim(0, 1)
    axis.set_xlim(-10, 510)
    axis.grid(alpha=0.3)


def _iou(cell: Mapping[str, Any] | None, method: str) -> str:
    if cell is None or method not in cell["iou"]:
        return "-"
    found = cell["iou"][method]
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
