"""The command line on a model whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sam_edge import runtime, scores
from sam_edge.cli import main
from tests.disc_model import disc_bundle


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def sam_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command in an empty folder that has a model in `disc`, computed by the runtime `disc`."""
    disc_bundle(tmp_path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    disc = runtime.Entry("tests.disc_model:DiscRuntime", "numpy", scores.anywhere)
    monkeypatch.setattr(runtime, "RUNTIMES", {"disc": disc})

    def call(*arguments: str) -> Answer:
        code = main(list(arguments))
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
