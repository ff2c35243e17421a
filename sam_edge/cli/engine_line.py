"""What is known about the engine that a command opened, in one line."""

from __future__ import annotations

import click

from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.fidelity.result import FidelityResult
from sam_edge.segmenter import Segmenter


def say_engine(segmenter: Segmenter) -> None:
    """One line on standard error: how near the engine is to the model it was made from."""
    if segmenter.engine is not None:
        click.echo(engine_line(segmenter.manifest, segmenter.engine), err=True)


def engine_line(manifest: Manifest, engine: EngineSpec) -> str:
    """Such as "mobile_sam on openvino fp16: mask IoU 0.9991 against PyTorch"."""
    document = manifest.measured(engine)
    if not document or "mask_iou_mean" not in document:
        return f"{manifest.name} on {engine}: not verified here; run sam-edge verify"
    found = FidelityResult.from_document(document)
    against = "the FP32 ONNX" if found.against_onnx else "PyTorch"
    failed = ", FAILED" if found.passed is False else ""
    return f"{manifest.name} on {engine}: mask IoU {found.mask_iou_mean:.4f} against {against}{failed}"
