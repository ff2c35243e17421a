"""Compare what we say of TensorRT with its real Python packages, call by call. Needs no GPU.

    python tests/typing/check_tensorrt_api.py [VERSION ...]

For each version the wheel of the bindings is downloaded, and libraries that export just the symbols it links to
are compiled, so that it can be imported; pybind11-stubgen then writes its classes down, and every member of our
Protocols is looked for there: its name, and the names and order of its parameters. Nothing of NVIDIA's is kept.
Needs pip, a C compiler, and `pip install pybind11-stubgen`. Exits with 1 if something differs.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("10.3.0", "11.4.0.106")
OURS = ("runtimes/tensorrt/api.py",)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
MODULES = ("TensorRtModule",)
"""Protocols of the package itself."""
NOT_SEEN = ("__buffer__",)
"""What C code gives without a Python method."""
Signature = tuple[tuple[str, bool], ...]
"""Parameters without self: name, and whether it may be left out."""


def main(versions: tuple[str, ...]) -> int:
    sources = [ast.parse((ROOT / path).read_text()) for path in OURS]
    protocols = [item for source in sources for item in read_protocols(source)]
    constants = {name: value for source in sources for name, value in read_constants(source).items()}
    wrong = 0
    for version in versions:
        with tempfile.TemporaryDirectory() as folder:
            stubs = make_stubs(version, Path(folder))
        compared, problems = compare(protocols, constants, stubs)
        wrong += len(problems)
        print(f"TensorRT {version}: {compared} members compared, {len(problems)} differ")
        for problem in problems:
            print(f"  {problem}")
    return 1 if wrong else 0


def make_stubs(version: str, folder: Path) -> ast.Module:
    """The bindings' classes as pybind11-stubgen writes them down."""
    wheel = f"tensorrt-cu12-bindings=={version}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), wheel], check=True
    )
    (archive,) = folder.glob("*.whl")
    zipfile.ZipFile(archive).extractall(folder)
    make_libraries(version.partition(".")[0], folder)
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    generate = [sys.executable, "-m", "pybind11_stubgen", "tensorrt_bindings", "-o", str(folder / "stubs")]
    done = subprocess.run(
        [*generate, "--ignore-all-errors"], env=environment, check=False, capture_output=True, text=True
    )
    written = folder / "stubs" / "tensorrt_bindings" / "tensorrt.pyi"
    if not written.is_file():
        raise SystemExit(f"no stubs of TensorRT {version}: {done.stderr.strip()}")
    return parse_stubs(written.read_text())


def make_libraries(major: str, folder: Path) -> None:
    """Libraries of the names that the bindings ask for, with functions that do nothing."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("no C compiler is here: install gcc")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([compiler, *options, str(source)], check=True)


def parse_stubs(text: str) -> ast.Module:
    """Stubs hold a few lines that are no Python, such as a parameter called `in`: these are left out."""
    lines = text.splitlines()
    while True:
        try:
            return ast.parse("\n".join(lines))
        except SyntaxError as error:
            number = (error.lineno or 1) - 1
            indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
            lines[number] = f"{indent}def unreadable_{number}():"


def read_protocols(source: ast.Module) -> list[ast.ClassDef]:
    """Our Protocols of TensorRT's classes."""
    classes = [item for item in source.body if isinstance(item, ast.ClassDef)]
    return [item for item in classes if any("Protocol" in ast.unparse(base) for base in item.bases)]


def read_constants(source: ast.Module) -> dict[str, tuple[str, ...]]:
    """Class -> members that we name, from a table called MEMBERS."""
    tables = [node.value for node in source.body if isinstance(node, ast.Assign) and named(node, "MEMBERS")]
    return {name: value for table in tables for name, value in ast.literal_eval(table).items()}


def compare(
    protocols: list[ast.ClassDef], constants: dict[str, tuple[str, ...]], stubs: ast.Module
) -> tuple[int, list[str]]:
    """How many members were compared, and what differs."""
    theirs = {item.name: item for item in stubs.body if isinstance(item, ast.ClassDef)}
    names = set(theirs) | set(attributes(stubs))
    compared = sum(len(wanted) for wanted in constants.values())
    problems = [
        f"{name}.{member}: is not there"
        for name, wanted in constants.items()
        for member in wanted
        if name not in theirs or member not in {found for found, _ in inherited(theirs[name], theirs)}
    ]
    for protocol in protocols:
        if protocol.name in MODULES:
            wanted = {name for name in attributes(protocol) if name != "__version__"}
            compared += len(wanted)
            problems += [f"the module has no {name}" for name in sorted(wanted - names)]
            continue
        name = protocol.name
        if name not in theirs:
            problems.append(f"there is no class {name}")
            continue
        for member, signature in members(protocol):
            if member in NOT_SEEN:
                continue
            compared += 1
            problem = differs(member, signature, theirs[name], theirs)
            if problem:
                problems.append(f"{name}.{member}: {problem}")
    return compared, problems


def differs(
    member: str, signature: Signature | None, theirs: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> str | None:
    """What is wrong with a member of ours, or None. `signature` is None for values."""
    found = [other for name, other in inherited(theirs, classes) if name == member]
    if not found:
        return "is not there"
    signatures = [other for other in found if other is not None]
    if signature is None:
        return "is a method" if signatures and None not in found else None
    if not signatures:
        return "is no method"
    # Operators are called by position.
    by_name = not member.startswith("__")
    if any(accepts(other, signature, by_name) for other in signatures):
        return None
    given = ", ".join(name for name, _ in signature)
    taken = " or ".join("(" + ", ".join(name for name, _ in other) + ")" for other in signatures)
    return f"we give ({given}), it takes {taken}"


def accepts(theirs: Signature, ours: Signature, by_name: bool) -> bool:
    """Whether a call with all our parameters, in order or by name, is one of theirs."""
    if len(ours) > len(theirs) or not all(optional for _, optional in theirs[len(ours) :]):
        return False
    pairs = zip(ours, theirs, strict=False)
    return not by_name or all(mine == other for (mine, _), (other, _) in pairs)


def members(item: ast.ClassDef) -> Iterator[tuple[str, Signature | None]]:
    """A class's values and methods; overloads come one by one."""
    for node in item.body:
        if isinstance(node, ast.FunctionDef):
            is_value = any("property" in ast.unparse(mark) for mark in node.decorator_list)
            yield node.name, None if is_value else signature_of(node)
    for name in attributes(item):
        yield name, None


def inherited(item: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[tuple[str, Signature | None]]:
    """Members of a class and of its bases."""
    yield from members(item)
    for base in item.bases:
        parent = classes.get(ast.unparse(base))
        if parent is not None:
            yield from inherited(parent, classes)


def signature_of(node: ast.FunctionDef) -> Signature:
    parameters = [*node.args.posonlyargs, *node.args.args]
    required = len(parameters) - len(node.args.defaults)
    named = [(item.arg, index >= required) for index, item in enumerate(parameters)]
    static = any("static" in ast.unparse(mark) for mark in node.decorator_list)
    return tuple(named if static else named[1:])


def named(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def attributes(item: ast.ClassDef | ast.Module) -> list[str]:
    """Names that are annotated or assigned."""
    annotated = [node.target for node in item.body if isinstance(node, ast.AnnAssign)]
    assigned = [target for node in item.body if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in (*annotated, *assigned) if isinstance(target, ast.Name)]


if __name__ == "__main__":
    raise SystemExit(main(tuple(sys.argv[1:]) or VERSIONS))
