"""What compiled code survives, and what it does not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.storage.cache import BlobCache, cache_folder


@given(data=st.binary(max_size=200), keys=st.sets(st.text(), min_size=2, max_size=2))
def test_blobs_come_back_by_their_key(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, keys: set[str]
) -> None:
    cache = BlobCache(tmp_path_factory.mktemp("cache"))
    key, other = keys
    cache.write(key, data)
    assert cache.read(key) == data
    assert cache.read(other) is None


@given(place=st.integers(0, 131), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    cache = BlobCache(tmp_path_factory.mktemp("cache"))
    cache.write("key", bytes(range(100)))
    data = bytearray(cache.path("key").read_bytes())
    data[place] ^= flip
    cache.path("key").write_bytes(data)
    assert cache.read("key") is None
    assert not cache.path("key").exists()


@pytest.mark.parametrize("length", [0, 10, 31, 32, 100])
def test_a_truncated_blob_is_noticed(tmp_path: Path, length: int) -> None:
    cache = BlobCache(tmp_path)
    cache.write("key", bytes(range(100)))
    cache.path("key").write_bytes(cache.path("key").read_bytes()[:length])
    assert cache.read("key") is None


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "deep" / "cache")
    cache.write("key", b"blob")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = BlobCache(tmp_path / "file" / "cache")
    cache.write("key", b"blob")
    assert cache.read("key") is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, max_bytes=3 * (100 + 32))
    for age, key in enumerate("abc"):
        cache.write(key, bytes(100))
        os.utime(cache.path(key), ns=(age, age))
    # Reading is use.
    assert cache.read("a") is not None
    cache.write("d", bytes(100))
    assert [key for key in "abcd" if cache.read(key) is not None] == ["a", "c", "d"]
    cache.write("huge", bytes(1000))
    assert cache.read("huge") is None


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    assert cache_folder("openvino") == tmp_path / "openvino"
    monkeypatch.delenv("SAM_EDGE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("openvino") == Path.home() / ".cache/sam_edge/openvino"
