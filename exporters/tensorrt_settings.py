"""What a TensorRT plan is built with: shapes and limits, as values that its key can hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sam_edge.errors import BundleError, InputError
from sam_edge.geometry import InputSize
from sam_edge.manifest import Manifest
from sam_edge.tensors import TensorSpec

WORKSPACE_SHARE = 4
"""Scratch memory may take a quarter of what is free: on a 4 GB device the system, the builder's own copy of the
weights and the plans that are loaded already live in the same memory."""
WORKSPACE_RANGE_MB = (128, 4096)
COMMON_ASPECT = (16, 9)
"""What cameras send: a plan for any size is tuned for this one."""


@dataclass(frozen=True)
class ShapeRange:
    """Which shapes of an input a plan takes, and the one it is tuned for."""

    least: tuple[int, ...]
    best: tuple[int, ...]
    most: tuple[int, ...]

    @property
    def fixed(self) -> bool:
        """Whether there is only one."""
        return self.least == self.most

    def __str__(self) -> str:
        best = "x".join(map(str, self.best))
        if self.fixed:
            return best
        sides = [
            str(least) if least == most else f"{least}..{most}"
            for least, most in zip(self.least, self.most, strict=True)
        ]
        return f"{'x'.join(sides)}, best {best}"


@dataclass(frozen=True)
class BuilderSettings:
    """How the builder is asked to build one graph."""

    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    """Inputs with free dimensions -> the shapes they may have. One shape only: the plan is static."""
    workspace_mb: int | None = None
    """Scratch memory of a layer at most; None: a share of what is free when it is built."""
    optimization_level: int = 3
    """0 (built fast) to 5 (runs fast); 3 is TensorRT's own."""
    tf32: bool = False
    """Float32 products with 10 bits of mantissa: no longer the model that the fidelity gate has measured."""
    compute_capability: str | None = None
    """The device to build for, such as 8.6, where the builder can do so for another than its own
    (TensorRT for RTX); None: the one it runs on."""

    def document(self) -> dict[str, Any]:
        """The settings as JSON values, for the plan's key.

        The free memory of the moment is left out: it would make a plan foreign that is as good as another.
        """
        return {
            "shapes": {
                name: [list(shape.least), list(shape.best), list(shape.most)]
                for name, shape in sorted(self.shapes.items())
            },
            "workspace_mb": self.workspace_mb,
            "optimization_level": self.optimization_level,
            "tf32": self.tf32,
            "compute_capability": self.compute_capability,
        }


def workspace_limit_mb(free_mb: int) -> int:
    """How much scratch memory a layer may take when so much of the device's memory is free."""
    least, most = WORKSPACE_RANGE_MB
    return min(max(free_mb // WORKSPACE_SHARE, least), most)


def graph_shapes(manifest: Manifest, graph: str, input_wh: tuple[int, int] | None) -> dict[str, ShapeRange]:
    """Shapes of a graph's inputs that have free dimensions.

    Args:
        manifest: of the model.
        graph: `encoder`, `decoder`, ...
        input_wh: size of the encoder's input; None allows every size that the model takes.

    Raises:
        InputError: the model takes no input of that size.
        BundleError: a free dimension does not follow from the size of the encoder's picture.
    """
    sizes = [_free_sizes(manifest, size) for size in _input_sizes(manifest.input_size, input_wh)]
    found = {}
    for spec in manifest.graphs[graph].inputs:
        if any(isinstance(side, str) for side in spec.shape):
            least, best, most = (_filled(spec, size) for size in sizes)
            found[spec.name] = ShapeRange(least, best, most)
    return found


def named_shapes(
    manifest: Manifest, graph: str, shapes: Mapping[str, ShapeRange]
) -> dict[str, tuple[int | str, ...]]:
    """Tensor -> shape, with the names of its free dimensions, of a graph's inputs and outputs.

    Where every input is fixed there are none: such a plan knows all its shapes by itself.
    """
    if all(shape.fixed for shape in shapes.values()):
        return {}
    both = (*manifest.graphs[graph].inputs, *manifest.graphs[graph].outputs)
    return {spec.name: spec.shape for spec in both}


def _input_sizes(rule: InputSize, input_wh: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """Least, best and most (width, height) of the encoder's input."""
    if rule.sides_wh is not None:
        width, height = rule.sides_wh
        if input_wh not in {None, rule.sides_wh}:
            raise InputError(
                f"this model's input is {width}x{height}: leave --input out, or export it for another size"
            )
        return (rule.sides_wh,) * 3
    if input_wh is not None:
        if max(input_wh) != rule.long_side or any(side < 1 or side % rule.multiple for side in input_wh):
            width, height = _common(rule)
            raise InputError(
                f"input {input_wh[0]}x{input_wh[1]} is none of this model's: the longer side is "
                f"{rule.long_side}, both are multiples of {rule.multiple}, such as {width}x{height}"
            )
        return (input_wh,) * 3
    return (rule.multiple, rule.multiple), _common(rule), (rule.long_side, rule.long_side)


def _common(rule: InputSize) -> tuple[int, int]:
    """The input's size for a frame of the most common aspect."""
    return rule.view(COMMON_ASPECT).input_wh


def _free_sizes(manifest: Manifest, input_wh: tuple[int, int]) -> dict[str, int]:
    """Name of a free dimension -> its size, from the encoder's picture of that input."""
    width, height = (side // manifest.input_size.shrink for side in input_wh)
    sizes = {}
    for spec in manifest.graphs["encoder"].inputs:
        for side, pixels in zip(spec.shape, (1, 3, height, width), strict=True):
            if isinstance(side, str):
                factor, _, name = side.rpartition("*")
                sizes[name] = pixels // int(factor or 1)
    return sizes


def _filled(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The spec's shape with sizes such as "8*rows" put in."""
    shape = []
    for side in spec.shape:
        if isinstance(side, str):
            factor, _, name = side.rpartition("*")
            if name not in sizes:
                raise BundleError(
                    f"the size {side} of input {spec.name} does not follow from the encoder's picture; "
                    "export the model again"
                )
            shape.append(int(factor or 1) * sizes[name])
        else:
            shape.append(side)
    return tuple(shape)
