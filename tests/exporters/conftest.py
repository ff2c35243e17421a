"""One small model, exported once, for every test that looks at the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sam_edge.exporters.export import export
from sam_edge.modeling import families
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
    folder: Path = export(tiny_checkpoint, tmp_path_factory.mktemp("models") / "tiny_model")
    return folder
