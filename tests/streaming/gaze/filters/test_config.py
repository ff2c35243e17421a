"""Settings of the gaze chain, as a TOML file gives them."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig

NAMES = [field.name for field in fields(GazeFilterConfig)]


def test_what_is_left_out_has_its_default() -> None:
    assert GazeFilterConfig.from_mapping({"noise_deg": 1}) == GazeFilterConfig(noise_deg=1)


def test_an_unknown_setting_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'noise_dge'") as caught:
        GazeFilterConfig.from_mapping({"noise_dge": 1.0})
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in NAMES)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", True, None, -1.0])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "px_per_degree"])
def test_what_is_not_a_number_in_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        GazeFilterConfig.from_mapping({name: value})


def test_a_degree_is_said_once() -> None:
    assert GazeFilterConfig(horizontal_fov_deg=80.0).scale((1280, 720)) == 16.0
    assert GazeFilterConfig.from_mapping({"px_per_degree": 20}).scale((1280, 720)) == 20.0
    with pytest.raises(InputError, match="px_per_degree"):
        GazeFilterConfig.from_mapping({"px_per_degree": 20, "horizontal_fov_deg": 80})
