"""`sam-edge build`: TensorRT plans of a model, on the device that will run them."""

from __future__ import annotations

import json
from typing import Any

import click

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.cli.options import parse_size
from sam_edge.cli.progress import progress
from sam_edge.host.machine import this_machine
from sam_edge.sessions.choice import split_name
from sam_edge.sessions.precision import choose_engine

from .build import BuilderSettings
from .dry_run import check_requests, describe, text
from .plans import Outcome, build_requests, find_build_environment, plan_requests
from .prepare import compare

LINT_ERRORS = 1
"""Exit code of a dry run that found what TensorRT would refuse."""
NOT_LINTED = 3
"""Exit code of a dry run that could not look."""


@click.command()
@click.argument("model", metavar="DIR")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be built, and the lint (pip install 'sam-edge[export]'); needs no GPU.",
)
@click.option(
    "--input",
    "input_text",
    metavar="WxH",
    help="Build for this encoder input only: faster and smaller.  [default: every size the model takes]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Which graphs of the folder to build.  [default: fp16 if the folder has them]",
)
@click.option(
    "--workspace",
    "workspace_mb",
    type=click.IntRange(16, 1 << 20),
    metavar="MB",
    help="Scratch memory of a layer at most.  [default: a quarter of what is free]",
)
@click.option("--device", metavar="cuda.N", help="The GPU to build for.  [default: cuda.0]")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def build(
    model: str,
    dry_run: bool,
    input_text: str | None,
    precision: Precision | None,
    workspace_mb: int | None,
    device: str | None,
    as_json: bool,
) -> int:
    """Build the TensorRT plans of the model in DIR, on the device that will run them.

    A plan is machine code for one TensorRT, driver and device. Plans are kept in ~/.cache/sam_edge/tensorrt
    (or $SAM_EDGE_CACHE/tensorrt), those that still fit are used again, and of several for one graph the one
    that was built last is run. What is built is compared with the answers of PyTorch that the folder brings
    along. Exit code 0: all plans are there; 1: they compute something else, and are removed; 2: one cannot be
    built. With --dry-run 0: the lint found no error; 1: it did; 2: bad input; 3: it was left out, because onnx
    is not installed.

    \b
    Examples:
      sam-edge build mobile_sam/
      sam-edge build nano --input 512x288
      sam-edge build mobile_sam/ --workspace 512
      sam-edge build mobile_sam/ --dry-run
      sam-edge build mobile_sam/ --dry-run --json | jq '.graphs[].findings[]'
    """
    device = device and split_name(f"tensorrt:{device}")[1]
    input_wh = None if input_text is None else parse_size(input_text, "--input")
    bundle = find_bundle(model)
    engine = choose_engine(bundle, f"tensorrt:{device or 'cuda'}", precision)
    settings = BuilderSettings(workspace_mb=workspace_mb)
    requests = plan_requests(bundle, engine, settings, input_wh)
    if dry_run:
        document = describe(bundle, engine, requests, this_machine(), device)
        click.echo(json.dumps(document, indent=2) if as_json else text(document))
        if not document["linted"]:
            return NOT_LINTED
        return LINT_ERRORS if document["errors"] else 0
    environment = find_build_environment(this_machine(), device)
    for warning in check_requests(requests):
        click.echo(warning, err=True)
    with progress() as shown:

        def show(step: str, done: float | None = None) -> None:
            shown(step, done or 0.0)

        outcomes = list(build_requests(environment, requests, show))
    built = {request.graph: item.plan for request, item in zip(requests, outcomes, strict=True)}
    found = compare(bundle, engine, built, input_wh)
    if found:
        click.echo(found, err=True)
    click.echo(json.dumps([_outcome(item) for item in outcomes], indent=2) if as_json else _done(outcomes))
    return 0


def _outcome(item: Outcome) -> dict[str, Any]:
    return {
        "graph": item.name,
        "plan": str(item.plan),
        "size_bytes": item.size_bytes,
        "built": item.is_new,
        "seconds": round(item.seconds, 3),
    }


def _done(outcomes: list[Outcome]) -> str:
    lines = []
    for item in outcomes:
        how = f"built in {item.seconds:.0f} s" if item.is_new else "ready, it still fits"
        lines.append(f"{item.name}: {how}, {item.size_bytes / 1e6:.1f} MB")
    return "\n".join([*lines, f"plans are in {outcomes[0].plan.parent}"])
