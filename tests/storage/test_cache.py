"""What compiled code survives, and what it does not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.storage.cache import BlobCache, cache_folder, cache_limit, cached_folders, clear_cache


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


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache's folder."""
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "base"))
    return tmp_path / "base"


def test_one_limit_holds_for_all_folders_together(base: Path, tmp_path: Path) -> None:
    limit = 3 * (100 + 32)
    caches = [BlobCache(cache_folder(name), limit) for name in ("openvino", "tensorrt")]
    elsewhere = BlobCache(tmp_path / "elsewhere", limit)
    for cache in (*caches, elsewhere):
        for age, key in enumerate("ab"):
            cache.write(key, bytes(100))
            os.utime(cache.path(key), ns=(age, age))
    (base / "tensorrt" / "a-01234567.plan").write_bytes(bytes(1000))
    caches[1].write("c", bytes(100))
    kept = [(cache.folder.name, key) for cache in caches for key in "abc" if cache.path(key).exists()]
    assert kept == [("openvino", "b"), ("tensorrt", "b"), ("tensorrt", "c")]
    assert elsewhere.read("a") is not None
    assert (base / "tensorrt" / "a-01234567.plan").exists(), "it took minutes"


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 1 << 30), ("0", 0), ("1000", 1000), ("500M", 500 << 20), ("1.5 gib", 3 << 29), ("2gb", 2 << 30)],
)
def test_the_limit_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE_LIMIT", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "5 apples", "1e9", "9" * 400, "1G2"])
def test_a_limit_that_is_not_a_size_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE_LIMIT", text)
    with pytest.raises(InputError, match="SAM_EDGE_CACHE_LIMIT"):
        cache_limit()


def test_a_limit_of_nothing_keeps_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE_LIMIT", "0")
    cache = BlobCache(cache_folder("openvino"))
    cache.write("key", b"blob")
    assert cache.read("key") is None
    assert not base.exists()


def test_only_what_was_kept_here_is_cleared(base: Path) -> None:
    """The folder may be one that holds other things too."""
    BlobCache(cache_folder("openvino")).write("key", b"blob")
    plans = base / "onnxruntime" / f"{'0' * 32}-{'a' * 16}"
    plans.mkdir(parents=True)
    (plans / "graph.engine").write_bytes(bytes(10))
    theirs = [base / "openvino" / "package.json", base / "photos" / "a.jpg", base / "thesis.txt"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")
    assert [(one.name, one.files, one.size_bytes) for one in cached_folders()] == [
        ("onnxruntime", 1, 10),
        ("openvino", 1, 36),
    ]
    assert clear_cache("onnxruntime") == 10
    assert not plans.exists()
    with pytest.raises(InputError, match=r"'photos'.*openvino"):
        clear_cache("photos")
    assert clear_cache() == 36
    assert cached_folders() == []
    assert all(path.read_bytes() == b"precious" for path in theirs)


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    assert cache_folder("openvino") == tmp_path / "openvino"
    monkeypatch.delenv("SAM_EDGE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("openvino") == Path.home() / ".cache/sam_edge/openvino"
