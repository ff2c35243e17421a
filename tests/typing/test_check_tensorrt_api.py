"""The comparison with TensorRT's packages finds what differs. The packages themselves are not needed."""

from __future__ import annotations

import ast

import pytest

from tests.typing.check_tensorrt_api import compare, parse_stubs, read_constants, read_protocols

OURS = """
MEMBERS = {"Mode": ("INPUT",)}

class Engine(Protocol):
    @property
    def count(self) -> int: ...
    def name(self, index: int) -> str: ...
    def __getitem__(self, place: int) -> int: ...

class TensorRtModule(Protocol):
    __version__: str
    Mode: Any
"""
THEIRS = """
class Mode:
    INPUT: typing.ClassVar[Mode]

class Base:
    @typing.overload
    def name(self, text: str) -> str:
        ...
    @typing.overload
    def name(self, index: typing.SupportsInt, flag: bool = ...) -> str:
        ...
    def odd(self, in: int) -> str:
        '''A parameter of that name is no Python.'''

class Engine(Base):
    @property
    def count(self) -> int:
        ...
    def __getitem__(self, arg0: int) -> int:
        ...
"""


def problems(theirs: str) -> list[str]:
    ours = ast.parse(OURS)
    return compare(read_protocols(ours), read_constants(ours), parse_stubs(theirs))[1]


def test_equal_faces_differ_in_nothing() -> None:
    ours = ast.parse(OURS)
    assert compare(read_protocols(ours), read_constants(ours), parse_stubs(THEIRS)) == (5, [])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("def count", "def counted", "Engine.count: is not there"),
        ("    @property\n", "", "Engine.count: is a method"),
        ("index:", "number:", "Engine.name: we give (index), it takes (text) or (number, flag)"),
        ("flag: bool = ...", "flag: bool", "Engine.name: we give (index), it takes (text) or (index, flag)"),
        ("class Engine", "class Machine", "there is no class Engine"),
        ("class Mode", "class Modes", "the module has no Mode"),
        ("INPUT:", "IN:", "Mode.INPUT: is not there"),
        ("arg0: int", "arg0: int, arg1: int", "Engine.__getitem__: we give (place), it takes (arg0, arg1)"),
    ],
)
def test_what_differs_is_named(old: str, new: str, problem: str) -> None:
    assert problem in problems(THEIRS.replace(old, new))
