"""A command group whose commands are imported only when one of them runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sam_edge.lazy import import_object


class LazyGroup(click.Group):
    """A group made of a table, so that its overview imports nothing.

    Args:
        table: command -> ("module:command", its line in the overview).
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        command: click.Command = import_object(self.table[cmd_name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])
