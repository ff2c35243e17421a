"""All thresholds and limits of a live stream, and how a TOML file sets them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sam_edge.errors import InputError
from sam_edge.streaming.answers.freshness import FreshnessConfig
from sam_edge.streaming.choice import ChoiceConfig
from sam_edge.streaming.follow import FollowConfig
from sam_edge.streaming.foveation import FoveationConfig
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.live.budget import BudgetConfig
from sam_edge.streaming.live.scheduler import SchedulerConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class StreamConfig:
    """Each part is a table of the TOML file, under the name of the field; what a file leaves out has its
    default."""

    gaze: GazeFilterConfig = field(default_factory=GazeFilterConfig)
    """What is a blink, a saccade, a fixation and noise, in degrees."""
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    """When frames are encoded."""
    freshness: FreshnessConfig = field(default_factory=FreshnessConfig)
    """When a mask is too old, or the camera's motion too uncertain."""
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    """Which of three masks is shown."""
    foveation: FoveationConfig = field(default_factory=FoveationConfig)
    """When a window round the gaze is encoded instead of the whole frame."""
    follow: FollowConfig = field(default_factory=FollowConfig)
    """When a followed object is lost."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """Temperature and power that may not be exceeded."""

    @classmethod
    def read(cls, path: str | Path) -> StreamConfig:
        """The configuration in a TOML file.

        Raises:
            InputError: it cannot be read, is not TOML, or has a table, a setting or a value that there is not.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise InputError(f"{path} is too large for a configuration", path=path, hint="give a TOML file")
            return cls.from_mapping(tomllib.loads(text.decode()))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not a text file", path=path, hint="give a TOML file") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not TOML: {error}", path=path) from error

    @classmethod
    def from_mapping(cls, tables: Mapping[str, Any]) -> StreamConfig:
        """The configuration in nested mappings, such as {"gaze": {"noise_deg": 0.4}}.

        Raises:
            InputError: naming what there is not, or what has the wrong type.
        """
        made: StreamConfig = _made(cls, tables, "")
        return made


def _made(kind: type[Any], values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {values!r}", hint=f"write settings below [{where}]")
    names = [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    made = {}
    for name, value in values.items():
        full = f"{where}.{name}" if where else str(name)
        if name not in names:
            raise InputError(f"there is no setting {full[:80]}", hint=f"choose from {', '.join(names)}")
        hint = hints[name]
        own: Callable[[Any], Any] | None = getattr(hint, "from_mapping", None)
        if own is not None and isinstance(value, Mapping):
            made[name] = own(value)
        elif isinstance(hint, type) and is_dataclass(hint):
            made[name] = _made(hint, value, full)
        else:
            made[name] = _checked(value, hint, full)
    return kind(**made)


def _checked(value: Any, hint: Any, where: str) -> Any:
    wants = str(hint)
    fits = {
        "bool": isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "str": isinstance(value, str),
    }
    named = [name for name in fits if name in wants]
    if not any(fits[name] for name in named):
        raise InputError(f"{where} is {value!r}", hint=f"give {' or '.join(named)}")
    return value
