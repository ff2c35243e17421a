"""`sam-edge doctor`: devices, versions, what can be used, and what to install for the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from sam_edge.host.machine import Device, this_machine
from sam_edge.imaging.opencv_build import OpenCvBuild
from sam_edge.sessions.doctor import Report, examine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output.")
def doctor(as_json: bool) -> None:
    """Show devices, versions, and which runtimes can be used here.

    The runtime marked * is the one that runs when --runtime names none: the installed one with the best score
    for this machine. A runtime with score 0 cannot run on this machine. What is not usable is listed with the
    reason and what to do. OpenCV is shown with what it was built with, because several copies of it may be
    installed.

    \b
    Examples:
      sam-edge doctor
      sam-edge doctor --json
      sam-edge doctor --json | jq '.runtimes[] | select(.chosen).name'
    """
    report = examine(this_machine())
    click.echo(json.dumps(report.document(), indent=2) if as_json else text(report))


def text(report: Report) -> str:
    """The report as aligned tables."""
    parts = [_machine(report), _versions(report)]
    if report.opencv:
        parts.append(_opencv(report.opencv))
    parts.append(_runtimes(report))
    problems = [(name, why) for runtime in report.runtimes for name, why in runtime.problems.items()]
    if problems:
        parts.append(["not usable", *_aligned(problems)])
    if report.advice:
        parts.append(["to install on the system", *(f"  {line}" for line in report.advice)])
    return "\n\n".join("\n".join(part) for part in parts)


def _machine(report: Report) -> list[str]:
    machine = report.machine
    rows = [("processor", f"{machine.cpu_name}, {machine.architecture}, {machine.cores} cores usable")]
    instructions = report.document()["machine"]["cpu_flags"]
    if instructions:
        rows.append(("instructions", " ".join(instructions)))
    rows.append(("memory", f"{machine.memory_mb} MB"))
    if machine.module:
        rows.append(("board", machine.module))
    if machine.l4t:
        release = ".".join(str(part) for part in machine.l4t)
        rows.append(("L4T", f"{release}, JetPack {report.jetpack}" if report.jetpack else release))
    rows += [
        ("CUDA", report.cuda),
        ("GPU nodes", _nodes(machine.gpus)),
        ("NPU nodes", _nodes(machine.npus)),
        ("cache", f"{report.cache}, {report.cache_bytes / 1e6:.1f} MB"),
    ]
    return ["machine", *_aligned(rows)]


def _versions(report: Report) -> list[str]:
    return ["versions", *_aligned(list(report.versions.items()))]


def _opencv(build: OpenCvBuild) -> list[str]:
    installed = ", ".join(build.distributions) or "the system's own"
    rows = [
        ("in force", f"{build.version} in {build.where}"),
        ("installed as", installed),
        ("windows (GUI)", build.gui or "no"),
        ("GStreamer", "yes" if build.gstreamer else "no"),
        ("FFmpeg", "yes" if build.ffmpeg else "no"),
    ]
    if build.problem:
        rows.append(("problem", build.problem))
    return ["OpenCV", *_aligned(rows)]


def _runtimes(report: Report) -> list[str]:
    rows = [("runtime", "score", "version", "usable as")]
    for runtime in sorted(report.runtimes, key=lambda item: (item.on_request, -item.score)):
        rows.append(
            (
                f"{'*' if runtime.chosen else ' '} {runtime.name}",
                "on request" if runtime.on_request else str(runtime.score),
                runtime.version or "-",
                ", ".join(runtime.devices) or "-",
            )
        )
    return _aligned(rows, indent="")


def _nodes(devices: Sequence[Device]) -> str:
    return ", ".join(f"{device.name} ({device.vendor or 'unknown'})" for device in devices) or "none"


def _aligned(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
