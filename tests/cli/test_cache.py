"""`sam-edge cache` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam_edge.cli import main
from sam_edge.storage.cache import BlobCache, cache_folder


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    monkeypatch.delenv("SAM_EDGE_CACHE_LIMIT", raising=False)
    for name, size in (("openvino", 3 << 20), ("tensorrt", 1 << 20)):
        BlobCache(cache_folder(name)).write("key", bytes(size))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["cache", *arguments, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def names(document: dict[str, object]) -> list[str]:
    folders = document["folders"]
    assert isinstance(folders, list)
    return [folder["name"] for folder in folders]


def test_folders_sizes_and_the_limit_are_shown(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["openvino", "3.0", "MiB"]
    assert str(base / "tensorrt") in second
    assert "4.0 MiB" in total
    assert "limit 1024.0 MiB" in total
    document = shown(capsys)
    assert (document["limit_bytes"], document["folder"]) == (1 << 30, str(base))


def test_one_folder_or_all_are_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    cleared = shown(capsys, "--clear", "tensorrt")
    assert (names(cleared), cleared["freed_bytes"]) == (["openvino"], (1 << 20) + 32)
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.startswith("freed 3.0 MiB")
    assert names(shown(capsys)) == []


def test_an_unknown_folder_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--clear", "tpu"]) == 2
    assert capsys.readouterr().err == "error: no cache is called 'tpu': there are openvino, tensorrt\n"
