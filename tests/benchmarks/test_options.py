"""Every benchmark says how it is called, and what is wrong in one line."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.cli.options import parse_size
from sam_edge.errors import EngineError, InputError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
COMMANDS = sorted(
    f"{file.parent.name}.{file.stem}" for file in FOLDER.glob("*/*.py") if "__main__" in file.read_text()
)


def test_commands_are_found() -> None:
    assert {"speed.stages", "speed.startup", "speed.decoder", "quality.upstream"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_is_taken(name: str) -> None:
    main = importlib.import_module(f"sam_edge.benchmarks.{name}").main
    answer = CliRunner().invoke(main, ["--help"])
    assert answer.exit_code == 0
    start = f"python -m sam_edge.benchmarks.{name}"
    _, heading, examples = answer.output.partition("Examples:\n")
    assert heading
    lines = [line.strip() for line in examples.partition("\n\n")[0].splitlines()]
    assert lines
    for line in lines:
        assert line.startswith(start)
        # Parsed and not run; folders that must be there are taken from the repository.
        words = line[len(start) :].replace("../shared/fixtures", str(FOLDER)).replace("photos/", str(FOLDER))
        arguments = words.split()
        main.make_context(name, arguments)


def fail(size: str, as_json: bool) -> None:
    raise EngineError(f"{parse_size(size, '--size')} {as_json}: no such engine")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: (1280, 720) False: no such engine\n"),
        (["--size", "64x48", "--json"], "error: (64, 48) True: no such engine\n"),
        (["--size", "64x"], "error: --size '64x' is not of the form WxH, such as 1024x576\n"),
    ],
)
def test_errors_are_one_line_and_code_2(arguments: list[str], line: str) -> None:
    command: Any = click.command(cls=Benchmark)
    answer = CliRunner().invoke(command(size_option(json_option(fail))), arguments)
    assert (answer.exit_code, answer.stderr, answer.stdout) == (2, line, "")


@pytest.mark.parametrize("text", ["", "x", "12", "1x2x3", "-4x5", "0x9", "9x0", "4.5x2"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="is not of the form WxH"):
        parse_size(text, "--size")
