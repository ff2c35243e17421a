"""Which shapes the inputs of a graph may have: their range, and the one to tune for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sam_edge.bundle.manifest import Manifest
from sam_edge.errors import BundleError, InputError
from sam_edge.geometry import InputSize
from sam_edge.tensors import TensorSpec

COMMON_ASPECT = (16, 9)
"""What cameras send: a plan for any size is tuned for this one."""

MOST_PROMPTS = 8
"""How many prompts are answered in one run of a batched decoder."""


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


def graph_shapes(manifest: Manifest, graph: str, input_wh: tuple[int, int] | None) -> dict[str, ShapeRange]:
    """Shapes of a graph's inputs that have free dimensions.

    Args:
        manifest: of the model.
        graph: `encoder`, `decoder`, ...
        input_wh: size of the encoder's input; None allows every size that the model takes.

    Raises:
        InputError: the model does not take an input of that size.
        BundleError: a free dimension does not follow from the size of the encoder's image.
    """
    # A decoder that is the only one for its slots mostly answers one prompt, such as the newest gaze.
    only = all(decoder.is_batched for decoder in manifest.decoders.values())
    counts = (1, 1 if only else MOST_PROMPTS, MOST_PROMPTS)
    sizes = [
        {**_free_sizes(manifest, size), "prompts": count}
        for size, count in zip(_input_sizes(manifest.input_size, input_wh), counts, strict=True)
    ]
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
                f"this model's input is {width}x{height}",
                hint="leave --input out, or export it for another size",
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
    """Name of a free dimension -> its size, from the encoder's image of that input."""
    width, height = (side // manifest.input_size.encoder_stride for side in input_wh)
    sizes = {}
    encoder = next(graph for graph in manifest.graphs.values() if graph.role == "encoder")
    for spec in encoder.inputs:
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
                    f"the size {side} of input {spec.name} does not follow from the encoder's image",
                    hint="export the model again",
                )
            shape.append(int(factor or 1) * sizes[name])
        else:
            shape.append(side)
    return tuple(shape)
