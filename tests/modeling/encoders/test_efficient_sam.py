"""EfficientSAM's prompts and decoder: what the reference repeats is counted, and the cut changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sam_edge.errors import InputError
from sam_edge.modeling.decoders.cut_decoder import CutDecoder, Prepare
from sam_edge.modeling.decoders.efficient_sam import (
    PROMPT_TOKENS,
    EfficientSamDecoder,
    Layer,
    PointPrompts,
    WholeMapNorm,
)
from sam_edge.modeling.encoders import efficient_sam
from sam_edge.modeling.encoders.efficient_sam import EfficientSamEncoder
from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import SamExport
from tests.modeling.decoders.test_cut_decoder import difference, image, padded, prompt
from tests.modeling.tiny_sam import DIM, GRID, HEADS, SIDE_PX


def tiny() -> Sam:
    """In evaluation mode and frozen, no weight zero."""
    torch.manual_seed(0)
    model = Sam(
        EfficientSamEncoder(dim=24, heads=2, depth=2, out_channels=DIM, image_size=SIDE_PX),
        PointPrompts(dim=DIM, image_size=SIDE_PX),
        EfficientSamDecoder(dim=DIM, heads=HEADS, hidden=48),
    )
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


MODEL = tiny()
PREPARED = Prepare(MODEL, GRID)(image(), MODEL.prompt_encoder.no_mask())
DECODER = CutDecoder(MODEL, GRID)


@settings(max_examples=40, deadline=None)
@given(points=st.integers(0, 10), box=st.booleans(), extra=st.integers(0, 9), seed=st.integers(0, 2**31))
def test_cut_equals_plain(points: int, box: bool, extra: int, seed: int) -> None:
    coords, labels = prompt(points, box=box, seed=seed)
    plain = MODEL.decode(image(), coords, labels)
    assert difference(DECODER(*PREPARED, coords, labels), plain) < 1e-4
    slots = padded(coords, labels, labels.shape[1] + extra, junk=900.0)
    assert difference(DECODER(*PREPARED, *slots), plain) < 1e-4


def test_prompts_of_a_batch_are_answered_as_one_by_one() -> None:
    prompts = [padded(*prompt(points, box=box), 6) for points, box in ((1, False), (4, True), (0, True))]
    logits, iou = DECODER(*PREPARED, *(torch.cat(parts) for parts in zip(*prompts, strict=True)))
    for index, one in enumerate(prompts):
        answer = logits[index : index + 1], iou[index : index + 1]
        assert difference(answer, DECODER(*PREPARED, *one)) < 1e-5


def test_a_prompt_is_six_tokens_as_in_the_reference() -> None:
    prompts = MODEL.prompt_encoder
    assert isinstance(prompts, PointPrompts)
    coords, labels = prompt(1, box=False)
    tokens = prompts.points(coords, labels)
    assert tokens.shape == (1, PROMPT_TOKENS, DIM)
    # The reference gives padding the place (-1, -1) and moves it by half a pixel like any other.
    place = prompts.pe_layer(torch.full((1, 2), -0.5) / SIDE_PX)
    assert torch.allclose(tokens[0, 1:], place + prompts.invalid_points.weight, atol=1e-6)
    assert prompts.points(*prompt(0, box=True)).shape == (1, PROMPT_TOKENS, DIM)
    assert prompts.points(*prompt(9, box=True)).shape == (1, 11, DIM)


def test_background_has_a_place_and_outside_has_none() -> None:
    prompts = MODEL.prompt_encoder
    coords = torch.tensor([[[30.0, 40.0], [-7.0, 40.0], [-1.0, 40.0]]])
    tokens = prompts.points(coords, torch.tensor([[0.0, 3.0, 3.0]]))
    assert torch.allclose(tokens[0, 0], prompts.pe_layer((coords[0, 0] + 0.5) / SIDE_PX), atol=1e-6)
    assert torch.equal(tokens[0, 1], tokens[0, 2])


def test_labels_and_places_change_the_answer() -> None:
    coords, labels = prompt(2, box=False)
    answer = DECODER(*PREPARED, coords, labels)
    assert difference(DECODER(*PREPARED, coords, 1 - labels.abs()), answer) > 1e-3
    assert difference(DECODER(*PREPARED, coords + 5, labels), answer) > 1e-3


def test_masks_are_no_prompts() -> None:
    with pytest.raises(InputError, match="takes no mask prompt"):
        MODEL.decode(image(), *prompt(1, box=False), torch.zeros(1, 1, 4 * GRID[0], 4 * GRID[1]))
    export = SamExport(MODEL)
    assert not export.takes_masks
    assert [source.name for source in export.graphs()] == [
        "encoder",
        "decoder",
        "decoder_many",
        "decoder_batch",
    ]


def test_a_map_is_normalised_as_a_whole() -> None:
    norm = WholeMapNorm(6).requires_grad_(False)
    norm.weight.normal_()
    norm.bias.normal_()
    x = torch.randn(2, 6, 5, 7) * 30 + 400
    expected = F.group_norm(x, 1, norm.weight, norm.bias, norm.eps)
    assert torch.allclose(norm(x), expected)
    last = norm.channels_last(x.permute(0, 2, 3, 1).flatten(1, 2))
    assert torch.allclose(last, expected.permute(0, 2, 3, 1).flatten(1, 2), atol=1e-4)


def test_self_attention_keeps_the_shortcut_and_carries_the_prompt() -> None:
    layer = Layer(DIM, HEADS, 48, 2, 1e-5).requires_grad_(False)
    x, p = torch.randn(1, 4, DIM), torch.randn(1, 4, DIM)
    attended = layer.self_attn(x + p, x + p, x + p)
    assert torch.allclose(layer.self_attention(x, p, first=False), layer.norm1(x + p + attended), atol=1e-6)
    assert torch.allclose(
        layer.self_attention(p, p, first=True), layer.norm1(p + layer.self_attn(p, p, p)), atol=1e-6
    )


def test_encoder_attends_to_all_tokens() -> None:
    attention = efficient_sam.Attention(8, 2).requires_grad_(False)
    x = torch.randn(1, 5, 8)
    q, k, v = attention.qkv(x).reshape(5, 3, 2, 4).unbind(1)
    scores = torch.einsum("qhc,khc->hqk", q, k) / 2
    expected = attention.proj(torch.einsum("hqk,khc->qhc", scores.softmax(-1), v).flatten(1))
    assert torch.allclose(attention(x)[0], expected, atol=1e-6)


def test_folded_has_its_positions_stretched_and_shares_the_rest() -> None:
    encoder = MODEL.image_encoder
    names = list(encoder.state_dict())
    plain = fuse(encoder)
    image = torch.randn(1, 3, SIDE_PX, SIDE_PX)
    assert torch.equal(plain(image), encoder(image))
    assert {id(weight) for weight in plain.parameters()} == {id(weight) for weight in encoder.parameters()}
    assert list(encoder.state_dict()) == names


@pytest.mark.parametrize("size", [(14, 14), (16, 9)])
def test_positions_stretch_without_the_class_token(size: tuple[int, int]) -> None:
    table = torch.randn(1, 1 + 14 * 14, 3)
    positions = efficient_sam.stretched_positions(table, size)
    assert positions.shape == (1, 3, *size)
    if size == (14, 14):
        assert torch.allclose(positions.flatten(2)[0].T, table[0, 1:], atol=1e-6)
