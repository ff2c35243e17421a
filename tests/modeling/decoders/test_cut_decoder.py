"""The cut decoder is the plain decoder, for every prompt, padded or not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sam_edge.modeling.decoders.cut_decoder import CutDecoder, EncoderWithPrepare, Prepare, Refine
from sam_edge.modeling.families import sam
from sam_edge.modeling.sam import Sam
from tests.modeling.tiny_sam import DIM, GRID, SIDE_PX, tiny_sam

SLOTS = 12
MODEL = tiny_sam()
PREPARE = Prepare(MODEL, GRID)
REFINE = Refine(MODEL, GRID)
DECODER = CutDecoder(MODEL, GRID)


def prompt(points: int, *, box: bool, seed: int = 0, side_px: int = SIDE_PX) -> tuple[Tensor, Tensor]:
    """Random points, then a box's corners or SAM's padding."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(1, points + 2, 2, generator=generator) * side_px
    labels = torch.randint(0, 2, (1, points + 2), generator=generator).float()
    labels[0, points:] = torch.tensor([2.0, 3.0])
    if box:
        return coords, labels
    labels[0, points] = -1.0
    return coords[:, :-1], labels[:, :-1]


def padded(coords: Tensor, labels: Tensor, slots: int, junk: float = 0.0) -> tuple[Tensor, Tensor]:
    """The prompt in a static number of slots, junk where nothing is."""
    filled = labels.shape[1]
    all_coords = torch.full((1, slots, 2), float(junk))
    all_labels = torch.full((1, slots), -2.0)
    all_coords[:, :filled] = coords
    all_labels[:, :filled] = labels
    return all_coords, all_labels


def image(seed: int = 0) -> Tensor:
    return torch.randn(1, DIM, *GRID, generator=torch.Generator().manual_seed(seed))


def difference(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


CASES = [(points, False) for points in range(1, 11)] + [(0, True), (1, True), (4, True), (10, True)]


@pytest.mark.parametrize(("points", "box"), CASES)
@pytest.mark.parametrize("with_mask", [False, True])
def test_cut_equals_plain(points: int, box: bool, with_mask: bool) -> None:
    embedding = image()
    mask = torch.randn(1, 1, 4 * GRID[0], 4 * GRID[1]) * 8 if with_mask else None
    coords, labels = prompt(points, box=box)
    no_mask = MODEL.prompt_encoder.no_mask()
    prepared = PREPARE(embedding, no_mask) if mask is None else REFINE(embedding, mask)
    # All four masks are compared: the single one and the three of `multimask`.
    plain = MODEL.decode(embedding, coords, labels, mask)
    assert plain[0].shape == (1, 4, 4 * GRID[0], 4 * GRID[1])
    assert difference(DECODER(*prepared, coords, labels), plain) < 1e-4
    assert difference(DECODER(*prepared, *padded(coords, labels, SLOTS)), plain) < 1e-4


@settings(max_examples=40, deadline=None)
@given(
    points=st.integers(0, 10),
    box=st.booleans(),
    extra=st.integers(0, 9),
    junk=st.integers(-5000, 5000),
    seed=st.integers(0, 2**31),
)
def test_padding_changes_nothing(points: int, box: bool, extra: int, junk: int, seed: int) -> None:
    prepared = PREPARE(image(seed), MODEL.prompt_encoder.no_mask())
    coords, labels = prompt(points, box=box, seed=seed)
    unpadded = DECODER(*prepared, coords, labels)
    more = DECODER(*prepared, *padded(coords, labels, labels.shape[1] + extra, junk))
    assert difference(more, unpadded) < 1e-5


@settings(max_examples=20, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
)
def test_prompts_of_a_batch_are_answered_as_one_by_one(kinds: list[tuple[int, bool]], seed: int) -> None:
    prepared = PREPARE(image(seed), MODEL.prompt_encoder.no_mask())
    prompts = [padded(*prompt(points, box=box, seed=seed + k), SLOTS) for k, (points, box) in enumerate(kinds)]
    logits, iou = DECODER(*prepared, *(torch.cat(parts) for parts in zip(*prompts, strict=True)))
    assert logits.shape == (len(kinds), 4, 4 * GRID[0], 4 * GRID[1])
    assert iou.shape == (len(kinds), 4)
    for k, one in enumerate(prompts):
        assert difference((logits[k : k + 1], iou[k : k + 1]), DECODER(*prepared, *one)) < 1e-5


def test_what_an_empty_slot_holds_is_never_seen() -> None:
    prepared = PREPARE(image(), MODEL.prompt_encoder.no_mask())
    coords, labels = prompt(2, box=False)
    answers = [DECODER(*prepared, *padded(coords, labels, SLOTS, junk)) for junk in (0.0, 900.0)]
    assert difference(*answers) == 0.0


def test_no_prompt_at_all_is_answered() -> None:
    prepared = PREPARE(image(), MODEL.prompt_encoder.no_mask())
    empty = padded(torch.zeros(1, 0, 2), torch.zeros(1, 0), 2)
    plain = MODEL.decode(image(), torch.zeros(1, 0, 2), torch.zeros(1, 0))
    assert difference(DECODER(*prepared, *empty), plain) < 1e-4


def test_a_label_changes_the_answer() -> None:
    """Else the tests above would pass on a decoder that ignores its prompt."""
    prepared = PREPARE(image(), MODEL.prompt_encoder.no_mask())
    coords, labels = prompt(2, box=False)
    assert difference(DECODER(*prepared, coords, labels), DECODER(*prepared, coords, 1 - labels)) > 1e-3


def test_encoder_graph_gives_the_embedding_and_what_prepare_makes_of_it() -> None:
    image = torch.randn(1, 3, SIDE_PX, SIDE_PX)
    embedding, *prepared = EncoderWithPrepare(MODEL, GRID)(image)
    coords, labels = prompt(3, box=False)
    assert torch.equal(embedding, MODEL.image_encoder(image))
    assert difference(DECODER(*prepared, coords, labels), MODEL.decode(embedding, coords, labels)) < 1e-4


def test_rectangles_crop_the_positions() -> None:
    grid = (GRID[0] // 2, GRID[1])
    embedding = torch.randn(1, DIM, *grid)
    coords, labels = prompt(2, box=True)
    prepared = Prepare(MODEL, grid)(embedding, MODEL.prompt_encoder.no_mask())
    answer = CutDecoder(MODEL, grid)(*prepared, *padded(coords, labels, SLOTS))
    assert answer[0].shape == (1, 4, 4 * grid[0], 4 * grid[1])
    assert difference(answer, MODEL.decode(embedding, coords, labels)) < 1e-4


def test_full_size_decoder() -> None:
    full: Sam = sam(torch.nn.Identity()).eval().requires_grad_(False)
    embedding = torch.randn(1, 256, 64, 64)
    coords, labels = prompt(3, box=True, side_px=1024)
    prepared = Prepare(full, (64, 64))(embedding, full.prompt_encoder.no_mask())
    answer = CutDecoder(full, (64, 64))(*prepared, *padded(coords, labels, SLOTS))
    assert difference(answer, full.decode(embedding, coords, labels)) < 1e-4
