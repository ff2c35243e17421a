"""`sam-edge verify --checkpoint`: where an engine departs is only shown by a trusted runtime that is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.exporters import trusted
from sam_edge.exporters import verify as module
from sam_edge.exporters.verify import Verdict, verify
from sam_edge.fidelity.gate import Reference, ask
from sam_edge.fidelity.images import textured_image
from sam_edge.loading import load
from sam_edge.progress import Progress
from sam_edge.sessions.choice import backends
from tests.exporters.cli.test_verify import Bending, Shifting
from tests.fixtures.tables import backend, use_backends
from tests.toy_model import toy_bundle


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A model with two runtimes that are wrong, and a PyTorch that answers as its graphs do."""
    bundle = toy_bundle(tmp_path)
    use_backends(
        monkeypatch,
        *backends().values(),
        backend("bending", loader=Bending, on_request=True),
        backend("shifting", loader=Shifting, on_request=True),
    )

    def from_checkpoint(
        checkpoint: Path, manifest: Manifest, images: Sequence[NDArray[np.uint8]], progress: Progress
    ) -> list[Reference]:
        with load(bundle.path, runtime="onnxruntime:cpu") as segmenter:
            expected: list[Reference] = ask(segmenter, images, progress)
        return expected

    monkeypatch.setattr(
        trusted, "import_object", lambda where: {trusted.FROM_CHECKPOINT: from_checkpoint}[where]
    )
    return bundle


def judged(bundle: Bundle, name: str) -> Verdict:
    (verdict,), _ = verify(bundle, [EngineSpec(name)], [textured_image((160, 120))], checkpoint=Path("toy.pt"))
    assert not verdict.passed
    assert verdict.against == "PyTorch"
    return verdict


def test_a_wrong_kernel_is_named_if_the_trusted_runtime_agrees_with_pytorch(toy: Bundle) -> None:
    assert judged(toy, "bending").departs_at == "decoder/toy_distance (Sqrt)"


def test_a_wrong_trusted_runtime_shows_no_other_where_it_departs(
    toy: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted, "TRUSTED", "bending")
    # The other computes what would be named as the graph says.
    assert judged(toy, "shifting").departs_at is None


def test_the_trusted_runtime_is_not_compared_with_itself(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted, "TRUSTED", "bending")
    monkeypatch.setattr(module, "_first_departure", lambda *_: pytest.fail("compared with itself"))
    assert judged(toy, "bending").departs_at is None
