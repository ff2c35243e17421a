"""Which graph answers which prompts: the smallest that holds them, several prompts in one run where a graph
can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sam_edge.bundle.manifest import Manifest
from sam_edge.bundle.shapes import MOST_PROMPTS
from sam_edge.prompt import Prompt

BATCHES = (MOST_PROMPTS, 4, 2, 1)
"""Prompts that are decoded in one run; other numbers are put together from these, so that engines meet few
shapes. More gain nothing more on a processor: their tensors leave its caches."""


@dataclass(frozen=True)
class Decoder:
    """A graph that answers prompts."""

    name: str
    slots: int
    """Prompt tokens it takes: points, and two for a box."""
    is_batched: bool
    """Whether it answers any number of prompts in one run."""


@dataclass(frozen=True)
class Decoders:
    """The decoders of a model, the one with the fewest slots first."""

    all: tuple[Decoder, ...]
    shares_masks: bool
    """Whether a mask prompt changes the image's tensors (`refine`), which all prompts of a run share."""

    @classmethod
    def of(cls, manifest: Manifest) -> Decoders:
        """The decoders of a model folder."""
        found = [Decoder(name, graph.slots, graph.is_batched) for name, graph in manifest.decoders.items()]
        return cls(tuple(found), any(graph.role == "refine" for graph in manifest.graphs.values()))

    @property
    def max_slots(self) -> int:
        """Prompt tokens that the largest decoder takes."""
        return self.all[-1].slots

    def smallest(self, tokens: int) -> Decoder:
        """The decoder with the fewest slots that holds so many tokens; the largest, which refuses, if none
        does."""
        return next((decoder for decoder in self.all if decoder.slots >= tokens), self.all[-1])

    def runs(self, prompts: Sequence[Prompt], *, together: bool) -> Iterator[tuple[Decoder, list[int]]]:
        """Decoder and indices of the prompts of each run that together answer all prompts.

        Args:
            prompts: on one image.
            together: whether a batched decoder is used that has a static sibling for single prompts.
        """
        groups: dict[Decoder, list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(self._for_batch(prompt, together), []).append(index)
        for decoder, indices in groups.items():
            left = iter(indices)
            for size in _split(len(indices)) if decoder.is_batched else [1] * len(indices):
                yield decoder, list(islice(left, size))

    def _for_batch(self, prompt: Prompt, together: bool) -> Decoder:
        alone = self.smallest(prompt.tokens)
        if alone.is_batched or not together or (self.shares_masks and prompt.mask_logits is not None):
            return alone
        fitting = (decoder for decoder in self.all if decoder.is_batched and decoder.slots >= prompt.tokens)
        return next(fitting, alone)


def _split(count: int) -> list[int]:
    """Sizes of runs that together answer so many prompts."""
    runs = []
    for size in BATCHES:
        runs += [size] * (count // size)
        count %= size
    return runs
