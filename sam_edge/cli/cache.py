"""`sam-edge cache`: what compiled models take on this machine, and clearing it."""

from __future__ import annotations

import json

import click

from sam_edge.storage.cache import LIMIT_VARIABLE, cache_folder, cache_limit, cached_folders, clear_cache

ALL = "all"


@click.command()
@click.option(
    "--clear",
    metavar="[NAME]",
    is_flag=False,
    flag_value=ALL,
    help="Remove what the folder NAME keeps, or what all keep.",
)
@click.option("--json", "as_json", is_flag=True, help="The folders as JSON.")
def cache(clear: str | None, as_json: bool) -> None:
    """Show what is kept of compiled models: folders, sizes and the limit.

    The cache is in ~/.cache/sam_edge, or in $SAM_EDGE_CACHE. What is compiled in seconds is kept within the
    limit, 1 GiB for all folders together or $SAM_EDGE_CACHE_LIMIT, such as 500M; what was not used for longest
    goes first. TensorRT plans take minutes to build: the limit is not theirs, they stay until they are cleared.

    \b
    Examples:
      sam-edge cache
      sam-edge cache --clear openvino
      sam-edge cache --clear
      SAM_EDGE_CACHE_LIMIT=200M sam-edge run clip.mp4 masks.mp4 --gaze gaze.csv
    """
    limit = cache_limit()
    freed = None if clear is None else clear_cache(None if clear == ALL else clear)
    folders = cached_folders()
    total = sum(folder.size_bytes for folder in folders)
    if as_json:
        document = {
            "folder": str(cache_folder(ALL).parent),
            "limit_bytes": limit,
            "total_bytes": total,
            "freed_bytes": freed,
            "folders": [
                {"name": one.name, "path": str(one.path), "files": one.files, "size_bytes": one.size_bytes}
                for one in folders
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    if freed is not None:
        click.echo(f"freed {_megabytes(freed)}")
    for one in folders:
        click.echo(f"{one.name:<14}{_megabytes(one.size_bytes):>12}  {one.files} files  {one.path}")
    click.echo(f"{'all':<14}{_megabytes(total):>12}  limit {_megabytes(limit)} (${LIMIT_VARIABLE})")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
