"""What is known about the engine that a command opened, in one line."""

from __future__ import annotations

import click

from sam_edge.manifest import Engine, Manifest
from sam_edge.segmenter import Segmenter


def say_engine(segmenter: Segmenter) -> None:
    """One line on standard error: how near the engine is to the model it was made from."""
    if segmenter.engine is not None and segmenter.manifest.fidelity:
        click.echo(engine_line(segmenter.manifest, segmenter.engine), err=True)


def engine_line(manifest: Manifest, engine: Engine) -> str:
    """Such as "mobile_sam on openvino fp16: mask IoU 0.9991 against PyTorch"."""
    found = manifest.measured(engine)
    if found is None:
        return f"{manifest.name} on {engine}: not verified here; run sam-edge verify"
    agreement = found.get("mask_iou_mean", 1.0 - found.get("mask_disagreement", float("nan")))
    against = "the FP32 ONNX" if found.get("against_onnx") else "PyTorch"
    failed = "" if found.get("passed", 1.0) else ", FAILED"
    return f"{manifest.name} on {engine}: mask IoU {agreement:.4f} against {against}{failed}"
