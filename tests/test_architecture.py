"""Where a file may look: imports point inward and down, no circles, rooms of about a dozen files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTER = ("runtimes", "exporters", "calibration", "benchmarks", "training")
LAYERS = (
    ("errors", "lazy", "progress"),
    ("host", "storage"),
    ("tensors", "geometry"),
    ("imaging",),
    ("prompt", "masks"),
    ("bundle",),
    ("sessions",),
    ("decoders", "embedding", "segmenter", "loading", "predictor"),
    ("modeling", "synthetic"),
    ("fidelity",),
    ("streaming",),
    ("service",),
    ("cli",),
)
"""The core's rooms and files, the lowest first: one imports from its own layer and from those above it in this
list."""
MAX_FILES = 14
"""Of a room: about a dozen."""
MAX_LINES = 330
"""Of a file: rarely over 300."""


def module_of(file: Path) -> str:
    """sam_edge.runtimes.openvino.model of runtimes/openvino/model.py."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "sam_edge" else ("sam_edge", *parts)).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    folders = ("sam_edge", *OUTER)
    return {module_of(file): file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))}


def imports(file: Path) -> Iterator[str]:
    """Modules of this package that a file imports when it runs, anywhere in it."""
    package = module_of(file) if file.stem == "__init__" else module_of(file).rpartition(".")[0]
    for node in running(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            found = name if name in modules() else name.rpartition(".")[0]
            if found in modules() and found != "sam_edge":
                yield found


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        yield child
        yield from running(child)


def room(module: str) -> str:
    """streaming of sam_edge.streaming.sinks.video."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", modules())
def test_imports_point_inward_and_down(module: str) -> None:
    file = modules()[module]
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    for imported in imports(file):
        if module == "sam_edge" or module.startswith("sam_edge.__main__"):
            continue
        own, other = room(module), room(imported)
        if own in OUTER:
            assert other == own or other not in OUTER, f"{file} imports {imported}, of another outer folder"
        else:
            assert other not in OUTER, f"{file} imports {imported}: the core imports no outer folder"
            assert layer[other] <= layer[own], f"{file} imports {imported}, which lies above it"


def test_no_file_imports_itself_by_detours() -> None:
    graph = {
        module: {name for name in imports(file) if name != module and not module.startswith(f"{name}.")}
        for module, file in modules().items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")


def test_rooms_are_small_and_files_are_short() -> None:
    rooms = {file.parent for file in modules().values()}
    crowded = {str(path.relative_to(ROOT)): len([*path.glob("*.py")]) for path in rooms}
    assert {path: count for path, count in crowded.items() if count - 1 > MAX_FILES} == {}
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in modules().values()}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
