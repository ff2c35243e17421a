"""What the benchmarks' command lines share: options, and errors of one line."""

from __future__ import annotations

from typing import Any

import click

from sam_edge.errors import SamEdgeError

json_option = click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
size_option = click.option(
    "--size", default="1280x720", show_default=True, metavar="WxH", help="Of the frames, in pixels."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), help="Cores an engine may use.  [default: all]"
)
runtimes_option = click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    default=("onnxruntime", "openvino"),
    show_default=True,
    metavar="NAME[:DEVICE]",
    help="May be given several times.",
)


class Benchmark(click.Command):
    """A command whose errors are one line and exit code 2, as those of `sam-edge` are."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SamEdgeError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
