"""One small model, exported once, for every test that looks at the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sam_edge.bundle import Bundle, find_bundle
from sam_edge.exporters import export as export_module
from sam_edge.exporters import gate
from sam_edge.exporters.gate import Expected
from sam_edge.exporters.pictures import generated
from sam_edge.modeling import families
from sam_edge.runtime import OpenRuntime, find_runtime
from sam_edge.segmenter import Segmenter
from tests.exporters.rtx import find_rtx
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import TINY, tiny_sam


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small models gain nothing from threads, and lose much when other work holds the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_family() -> Iterator[None]:
    """`tiny` is a family like the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.FAMILIES, "tiny", TINY)
        yield


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_family: None) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    torch.save(tiny_sam().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "write_graph", kept_graph)
        folder: Path = export_module.export(tiny_checkpoint, tmp_path_factory.mktemp("models") / "tiny_model")
    return folder


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return find_bundle("nano")


@pytest.fixture(scope="module")
def opener() -> OpenRuntime:
    return find_runtime("onnxruntime:cpu")[1]


@pytest.fixture(scope="module")
def expected(nano: Bundle, opener: OpenRuntime) -> list[Expected]:
    with Segmenter(nano, opener) as segmenter:
        answers: list[Expected] = gate.ask(segmenter, generated(3)[:2])
    return answers


@pytest.fixture(scope="session")
def rtx() -> Any:
    """NVIDIA's builder that needs no GPU."""
    return find_rtx()
