"""nano keeps SAM's contract: static prompts, empty slots that count for nothing, one plain form."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.nano.blocks import PointConv, RepConv
from sam_edge.modeling.nano.model import Nano, build_nano

HEIGHT, WIDTH = 96, 128
Prompt = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def nano() -> Nano:
    """A nano whose normalisation statistics are not the identity, as after training."""
    torch.manual_seed(0)
    model = build_nano()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    return model


@pytest.fixture(scope="module")
def features(nano: Nano) -> dict[str, Tensor]:
    with torch.no_grad():
        answer: dict[str, Tensor] = nano.encoder(torch.randn(1, 3, HEIGHT, WIDTH))
    return answer


def prompt(slots: list[tuple[float, float, float]], has_mask: float = 0.0) -> Prompt:
    table = torch.tensor(slots)
    generator = torch.Generator().manual_seed(1)
    previous = torch.randn(1, 1, HEIGHT // 4, WIDTH // 4, generator=generator) * 4
    return table[None, :, :2], table[None, :, 2], previous, torch.tensor([has_mask])


def decode(nano: Nano, features: dict[str, Tensor], asked: Prompt) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        answer: tuple[Tensor, Tensor] = nano.decoder(features, *asked)
    return answer


def same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], within: float = 1e-5) -> bool:
    return all(torch.allclose(x, y, atol=within, rtol=0) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("sides", [(32, 32), (64, 160), (288, 512)])
def test_any_multiple_of_32_gives_logits_at_a_quarter(nano: Nano, sides: tuple[int, int]) -> None:
    height, width = sides
    with torch.no_grad():
        seen = nano.encoder(torch.randn(1, 3, height, width))
        logits, iou = nano.decoder(
            seen,
            torch.tensor([[[width / 2, height / 2]]]),
            torch.ones(1, 1),
            torch.zeros(1, 1, height // 4, width // 4),
            torch.zeros(1),
        )
    assert seen["embedding"].shape[2:] == (height // 16, width // 16)
    assert logits.shape == (1, 4, height // 4, width // 4)
    assert iou.shape == (1, 4)
    assert bool(((iou >= 0) & (iou <= 1)).all())


def test_the_plain_form_equals_the_trained_one(nano: Nano) -> None:
    plain = cast(Nano, fuse(nano))
    image = torch.randn(1, 3, HEIGHT, WIDTH)
    asked = prompt([(40, 30, 1), (70, 50, 0), (20, 20, 2), (90, 80, 3)], has_mask=1.0)
    with torch.no_grad():
        ours, theirs = nano.encoder(image), plain.encoder(image)
        assert all(torch.allclose(ours[k], theirs[k], atol=1e-4) for k in ours)
        assert same(nano.decoder(ours, *asked), plain.decoder(theirs, *asked), within=1e-4)


def test_the_plain_form_has_plain_parts_only() -> None:
    plain = build_nano(fused=True)
    assert not any(isinstance(module, RepConv | PointConv | nn.BatchNorm2d) for module in plain.modules())
    plain.load_state_dict(fuse(build_nano()).state_dict(), strict=True)


@settings(max_examples=15, deadline=None)
@given(
    points=st.lists(
        st.tuples(
            st.floats(0, WIDTH - 1, width=32), st.floats(0, HEIGHT - 1, width=32), st.sampled_from([0.0, 1.0])
        ),
        min_size=1,
        max_size=4,
    ),
    empty=st.lists(
        st.tuples(st.floats(-50, 500, width=32), st.floats(-50, 500, width=32), st.sampled_from([-1.0, -2.0])),
        min_size=1,
        max_size=4,
    ),
    boxed=st.booleans(),
)
def test_empty_slots_count_for_nothing(
    nano: Nano,
    features: dict[str, Tensor],
    points: list[tuple[float, float, float]],
    empty: list[tuple[float, float, float]],
    boxed: bool,
) -> None:
    slots = points + ([(10.0, 12.0, 2.0), (80.0, 60.0, 3.0)] if boxed else [])
    mixed = [*empty[:1], *slots, *empty[1:]]
    assert same(decode(nano, features, prompt(slots)), decode(nano, features, prompt(mixed)))


def test_the_order_of_the_slots_does_not_matter(nano: Nano, features: dict[str, Tensor]) -> None:
    slots = [(40.0, 30.0, 1.0), (70.0, 50.0, 0.0), (20.0, 20.0, 2.0), (90.0, 80.0, 3.0)]
    ours = decode(nano, features, prompt(slots))
    assert same(ours, decode(nano, features, prompt(slots[::-1])))


@pytest.mark.parametrize(
    "other",
    [
        [(90.0, 70.0, 1.0)],
        [(40.0, 30.0, 0.0)],
        [(40.0, 30.0, 1.0), (80.0, 20.0, 0.0)],
        [(40.0, 30.0, 1.0), (80.0, 20.0, 1.0)],
        [(40.0, 30.0, 1.0), (20.0, 20.0, 2.0), (60.0, 50.0, 3.0)],
    ],
)
def test_every_kind_of_prompt_is_seen(
    nano: Nano, features: dict[str, Tensor], other: list[tuple[float, float, float]]
) -> None:
    ours = decode(nano, features, prompt([(40.0, 30.0, 1.0)]))
    assert not same(ours, decode(nano, features, prompt(other)), within=1e-3)


def test_the_previous_mask_counts_only_where_there_is_one(nano: Nano, features: dict[str, Tensor]) -> None:
    coords, labels, previous, _ = prompt([(40.0, 30.0, 1.0)])
    off, on = torch.zeros(1), torch.ones(1)
    without = decode(nano, features, (coords, labels, previous, off))
    assert same(without, decode(nano, features, (coords, labels, -previous, off)), within=0.0)
    with_mask = decode(nano, features, (coords, labels, previous, on))
    assert not same(without, with_mask, within=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    prompts=st.lists(
        st.lists(
            st.tuples(
                st.floats(0, WIDTH - 1, width=32),
                st.floats(0, HEIGHT - 1, width=32),
                st.sampled_from([-2.0, 0.0, 1.0, 2.0, 3.0]),
            ),
            min_size=5,
            max_size=5,
        ),
        min_size=1,
        max_size=5,
    ),
    masked=st.integers(0, 31),
)
def test_prompts_of_a_batch_are_answered_as_one_by_one(
    nano: Nano, features: dict[str, Tensor], prompts: list[list[tuple[float, float, float]]], masked: int
) -> None:
    """Whether all prompts share one image's features or each has its own, as in training."""
    count = len(prompts)
    asked = [prompt(slots, has_mask=float(masked >> k & 1)) for k, slots in enumerate(prompts)]
    coords, labels, masks, has_mask = (torch.cat(parts) for parts in zip(*asked, strict=True))
    together: Prompt = (coords, labels, masks, has_mask)
    own = {name: x.expand(count, -1, -1, -1) for name, x in features.items()}
    for image in (features, own):
        logits, iou = decode(nano, image, together)
        assert logits.shape == (count, 4, HEIGHT // 4, WIDTH // 4)
        assert iou.shape == (count, 4)
        for k, one in enumerate(asked):
            expected = decode(nano, features, one)
            assert same((logits[k : k + 1], iou[k : k + 1]), expected, within=1e-4)


def test_points_outside_the_image_stay_finite(nano: Nano, features: dict[str, Tensor]) -> None:
    for x, y in [(-5000.0, 40.0), (40.0, 9000.0), (-1.0, -1.0)]:
        logits, iou = decode(nano, features, prompt([(x, y, 1.0), (x, y, 0.0)]))
        assert bool(torch.isfinite(logits).all())
        assert bool(torch.isfinite(iou).all())


def test_the_size_stays_within_the_budget() -> None:
    plain = build_nano(fused=True)
    assert sum(p.numel() for p in plain.encoder.parameters()) <= 3.0e6
    assert sum(p.numel() for p in plain.decoder.parameters()) <= 1.2e6
    image = torch.zeros(1, 3, 288, 512)
    with torch.no_grad(), FlopCounterMode(display=False) as encoder:
        seen = plain.encoder(image)
    with torch.no_grad(), FlopCounterMode(display=False) as decoder:
        empty = torch.zeros(1, 1, 72, 128)
        plain.decoder(seen, torch.zeros(1, 12, 2), torch.ones(1, 12), empty, torch.zeros(1))
    assert encoder.get_total_flops() <= 2.5e9
    assert decoder.get_total_flops() <= 0.6e9
