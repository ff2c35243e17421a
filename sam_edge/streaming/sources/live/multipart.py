"""Motion JPEG as cameras send it over HTTP: multipart/x-mixed-replace (RFC 2046, section 5.1).

Bytes go in, parts come out; nothing is read here. Cameras differ in what they keep of the standard: a part ends
at the next boundary, whatever length it claims; a length only tells earlier that it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PART_BYTES = 32_000_000
"""A larger picture is thrown away."""
MAX_HEADER_BYTES = 16_384
_END_OF_HEADERS = (b"\r\n\r\n", b"\n\n")


@dataclass(frozen=True)
class Part:
    """A picture, and what was said about it."""

    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class MultipartParser:
    """Cuts a stream of bytes into parts. Memory is bounded, whatever comes."""

    def __init__(self, boundary: str) -> None:
        """Cut at a boundary, as the type of the answer names it; dashes before it do not count."""
        self.malformed = 0
        """How many parts were thrown away: too large, or without an end of their headers."""
        self._mark = b"--" + boundary.strip().strip('"').lstrip("-").encode("latin-1", "replace")
        self._buffer = bytearray()
        self._searched = 0
        """From here on the boundary is looked for; it is not before."""
        self._headers: dict[str, str] | None = None
        """Of the part that is being read; None outside of a part."""
        self._inside = False
        """Whether a boundary has come whose headers have not."""

    def feed(self, data: bytes) -> list[Part]:
        """The parts that are whole with these bytes."""
        self._buffer += data
        parts: list[Part] = []
        while self._step(parts):
            pass
        return parts

    def _step(self, parts: list[Part]) -> bool:
        """One step forward; False if that needs more bytes."""
        if self._headers is not None:
            return self._read_body(parts)
        if self._inside:
            return self._read_headers()
        return self._find_boundary()

    def _find_boundary(self) -> bool:
        at = self._buffer.find(self._mark)
        if at < 0:
            # A part of the mark may stand at the end.
            del self._buffer[: max(0, len(self._buffer) - len(self._mark))]
            return False
        del self._buffer[: at + len(self._mark)]
        self._inside = True
        return True

    def _read_headers(self) -> bool:
        found = [(self._buffer.find(end, 0, MAX_HEADER_BYTES), len(end)) for end in _END_OF_HEADERS]
        ends = [(at, length) for at, length in found if at >= 0]
        if not ends:
            if len(self._buffer) < MAX_HEADER_BYTES:
                return False
            self._drop()
            return True
        at, length = min(ends)
        head = bytes(self._buffer[:at])
        if self._mark in head:
            # A boundary without a part.
            self._drop()
            return True
        lines = [line.partition(":") for line in head.decode("latin-1").splitlines()]
        self._headers = {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
        del self._buffer[: at + length]
        self._searched = 0
        return True

    def _read_body(self, parts: list[Part]) -> bool:
        headers = self._headers
        assert headers is not None
        length = _length(headers)
        if length is not None and len(self._buffer) >= length and self._buffer.find(self._mark, 0, length) < 0:
            # Some cameras send the boundary with the next picture only: nobody waits for it.
            self._give(parts, headers, length)
            return True
        at = self._buffer.find(self._mark, self._searched)
        if at >= 0:
            self._give(parts, headers, at)
            return True
        if len(self._buffer) > MAX_PART_BYTES:
            self._drop()
            return True
        self._searched = max(0, len(self._buffer) - len(self._mark))
        return False

    def _give(self, parts: list[Part], headers: dict[str, str], length: int) -> None:
        parts.append(Part(headers, bytes(self._buffer[:length])))
        # A length that is a few bytes too large reaches into the boundary.
        del self._buffer[: max(0, length + 1 - len(self._mark))]
        self._headers, self._inside = None, False

    def _drop(self) -> None:
        """Throw the part away that is being read, and go on at the next boundary."""
        self.malformed += 1
        self._headers, self._inside = None, False


def _length(headers: dict[str, str]) -> int | None:
    text = headers.get("content-length", "")
    wellformed = text.isascii() and text.isdecimal() and len(text) <= 9
    return int(text) if wellformed and 0 < int(text) <= MAX_PART_BYTES else None
