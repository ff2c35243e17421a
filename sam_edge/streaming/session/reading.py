"""Messages of an MCAP file in the order in which they were written, also of one that is cut off."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_edge.errors import InputError
from sam_edge.lazy import named_extras

if TYPE_CHECKING:
    from mcap.records import Channel, Chunk, McapRecord, Schema

MAX_BYTES = 1 << 29
"""Of a record, and of a chunk's content: a frame of 100 megapixels, and some more."""


@dataclass(frozen=True)
class Message:
    """A message of one of our channels."""

    topic: str
    content: Any
    """What its JSON says; of an image its file."""


class McapFile:
    """An MCAP file of this package. It is read anew by every iteration, so an hour of it needs no memory.

    Args:
        name: the file.

    Raises:
        InputError: it cannot be read, or is no MCAP file.
        MissingExtraError: mcap is not installed.
    """

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self.damage = ""
        """Why an iteration ended before the file's end, as a clause; empty where it did not."""
        self.records: Mapping[str, Mapping[str, str]] = self._read_metadata()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """The messages of some channels, until the end or the first thing that is damaged.

        Raises:
            InputError: a message is not what its channel says.
        """
        with named_extras("mcap"):
            from mcap.records import Channel, Schema
            from mcap.records import Message as Found
            from mcap_protobuf.decoder import DecoderFactory
        factory = DecoderFactory()
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Found):
                channel = channels.get(record.channel_id)
                if channel is not None and channel.topic in topics:
                    content = self._content(channel, schemas.get(channel.schema_id), record.data, factory)
                    yield Message(channel.topic, content)

    def _content(self, channel: Channel, schema: Schema | None, data: bytes, factory: Any) -> Any:
        try:
            if channel.message_encoding == "json":
                return json.loads(data)
            decode = factory.decoder_for(channel.message_encoding, schema)
            return decode(data).data
        except Exception as error:  # protobuf raises what it likes
            raise InputError(
                f"{self._path} has a message of {channel.topic} that cannot be read: {error!r:.100}",
                path=self._path,
            ) from error

    def _read_metadata(self) -> dict[str, dict[str, str]]:
        with named_extras("mcap"):
            from mcap.records import Chunk, Metadata
            from mcap.records import Message as Found
        found: dict[str, dict[str, str]] = {}
        for record in self._records(whole_chunks=True):
            if isinstance(record, Metadata):
                found[record.name] = record.metadata
            # It stands before all messages.
            if isinstance(record, (Chunk, Found)):
                break
        return found

    def _records(self, *, whole_chunks: bool = False) -> Iterator[McapRecord]:
        with named_extras("mcap"):
            from mcap.exceptions import InvalidMagic, McapError
            from mcap.records import Chunk
            from mcap.stream_reader import StreamReader, breakup_chunk
        self.damage = ""
        place = 0
        try:
            with self._path.open("rb") as file:
                reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_BYTES)
                for record in reader.records:
                    place = file.tell()
                    if isinstance(record, Chunk) and not whole_chunks:
                        yield from breakup_chunk(_expanded(record), validate_crc=True)
                    else:
                        yield record
        except InvalidMagic as error:
            if place:
                self.damage = "its last bytes are damaged"
                return
            raise InputError(f"{self._path} is not an MCAP file", path=self._path) from error
        except OSError as error:
            reason = error.strerror or "it is damaged"
            raise InputError(f"cannot read {self._path}: {reason}", path=self._path) from error
        except (McapError, ValueError, struct.error, EOFError, RuntimeError, MemoryError) as error:
            if not place:
                raise InputError(f"{self._path} is not an MCAP file", path=self._path) from error
            self.damage = f"it is cut off or damaged after {place} bytes"


def _expanded(chunk: Chunk) -> Chunk:
    """A chunk without compression, of a size that fits.

    Raises:
        ValueError: it is too large, or damaged.
    """
    if chunk.compression == "":
        return chunk
    data = b""
    with suppress(ImportError):
        if chunk.compression == "zstd":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(BytesIO(chunk.data)) as stream:
                data = stream.read(MAX_BYTES + 1)
        elif chunk.compression == "lz4":
            from lz4.frame import LZ4FrameDecompressor

            data = LZ4FrameDecompressor().decompress(chunk.data, max_length=MAX_BYTES + 1)
    if not 0 < len(data) <= MAX_BYTES:
        raise ValueError("a chunk that cannot be expanded")
    return replace(chunk, compression="", data=data)
