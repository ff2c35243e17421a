"""What a service is told: by a TOML file, and by the command line, which goes first."""

from __future__ import annotations

import ipaddress
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from sam_edge.errors import InputError
from sam_edge.streaming.live.config import StreamConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1_000_000
Table = TypeVar("Table")


@dataclass(frozen=True)
class ServiceConfig:
    """The table [service]. Sizes in bytes, times in seconds; every limit is over 0."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free one."""
    token_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    behind_proxy: bool = False
    """A proxy in front brings TLS."""
    origins: tuple[str, ...] = ()
    """Pages elsewhere that may ask, such as "https://cam.example.org"."""
    max_body_bytes: int = 16_000_000
    max_image_pixels: int = 20_000_000
    max_prompts: int = 32
    max_embeddings: int = 16
    embedding_expires_s: float = 300.0
    max_connections: int = 256
    max_clients: int = 64
    max_previews: int = 8
    max_message_bytes: int = 64_000
    max_messages_per_s: float = 400.0
    max_requests_per_s: float = 50.0
    max_waiting: int = 64
    max_waiting_of_client: int = 8
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    stall_timeout_s: float = 5.0
    stale_frames_s: float = 2.0
    stale_embeddings_s: float = 5.0
    stale_gaze_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise InputError(f"the port is {self.port}", hint="give 0 to 65535")
        for one in fields(self):
            value = getattr(self, one.name)
            is_limit = one.name.endswith("_s") or one.name.startswith("max_")
            if is_limit and not (value > 0 and math.isfinite(value)):
                raise InputError(f"service.{one.name} is {value}", hint="give a number over 0")

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check(self, has_token: bool) -> None:
        """Raise InputError if this would let others in."""
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InputError("TLS needs a certificate and its key", hint="give both --tls-cert and --tls-key")
        if self.is_loopback:
            return
        if not has_token:
            raise InputError(
                f"{self.host} can be reached by others, and there is no token",
                hint="give --token-file, or set SAM_EDGE_TOKEN",
            )
        if not (self.tls_cert or self.behind_proxy):
            raise InputError(
                f"{self.host} can be reached by others, and nothing is encrypted",
                hint="give --tls-cert and --tls-key, or --behind-proxy where a proxy brings TLS",
            )


@dataclass(frozen=True)
class ModelConfig:
    """The table [model]; what is empty or 0 is chosen."""

    name: str = "nano"
    runtime: str = ""
    precision: str = ""
    threads: int = 0


@dataclass(frozen=True)
class Settings:
    """A whole configuration."""

    source: str = ""
    """Empty: the generated scene."""
    gaze: str = ""
    """Empty: clients send it."""
    outputs: tuple[str, ...] = ()
    model: ModelConfig = field(default_factory=ModelConfig)
    service: ServiceConfig = field(default_factory=ServiceConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)

    @classmethod
    def read(cls, path: str | Path) -> Settings:
        """The configuration in a TOML file.

        Raises:
            InputError: it cannot be read, or has what there is not.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise InputError(f"{path} is too large for a configuration", path=path)
            return cls.from_mapping(tomllib.loads(text.decode()))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} is not TOML: {error}", path=path) from error

    @classmethod
    def from_mapping(cls, tables: Mapping[str, Any]) -> Settings:
        """The configuration in nested mappings.

        Raises:
            InputError: naming what there is not, or what has the wrong type.
        """
        rest = dict(tables)
        plain = {name: rest.pop(name) for name in ("source", "gaze", "outputs") if name in rest}
        model = _filled(ModelConfig(), rest.pop("model", {}), "model.")
        service = _filled(ServiceConfig(), rest.pop("service", {}), "service.")
        stream = StreamConfig.from_mapping(rest)
        return replace(_filled(cls(), plain, ""), model=model, service=service, stream=stream)


def _filled(defaults: Table, values: Any, where: str) -> Table:
    """`defaults` with what a table of a file says instead."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where[:-1]} is {values!r}", hint=f"write settings below [{where[:-1]}]")
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in vars(defaults):
            raise InputError(
                f"there is no setting {where}{name}"[:100], hint=f"choose from {', '.join(vars(defaults))}"
            )
        made[name] = _checked(value, getattr(defaults, name), where + name)
    return replace(defaults, **made)  # type: ignore[type-var]


def _checked(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(_checked(one, "", where) for one in value)
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise InputError(f"{where} is {value!r}"[:200], hint=f"give a {type(default).__name__}")
    return value
