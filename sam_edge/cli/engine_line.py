"""What is known about the engine that a command opened, in one line."""

from __future__ import annotations

import click

from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.segmenter import Segmenter


def say_engine(segmenter: Segmenter) -> None:
    """One line on standard error: how near the engine is to the model it was made from."""
    if segmenter.engine is not None:
        click.echo(engine_line(segmenter.manifest, segmenter.engine), err=True)


def engine_line(manifest: Manifest, engine: EngineSpec) -> str:
    """Such as "mobile_sam on openvino fp16: mask IoU 0.9991 against PyTorch"."""
    found = manifest.measured(engine) or {}
    if "mask_iou_mean" in found:
        agreement = found["mask_iou_mean"]
    elif "mask_disagreement" in found:
        # Folders of the first exporter: 1 - IoU of the worst prompt.
        agreement = 1.0 - found["mask_disagreement"]
    else:
        return f"{manifest.name} on {engine}: not verified here; run sam-edge verify"
    against = "the FP32 ONNX" if found.get("against_onnx") else "PyTorch"
    failed = "" if found.get("passed", 1.0) else ", FAILED"
    return f"{manifest.name} on {engine}: mask IoU {agreement:.4f} against {against}{failed}"
