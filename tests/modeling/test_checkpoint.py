"""Good checkpoints load whatever wraps them; bad ones are named in one line."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sam_edge.errors import CheckpointError, InputError
from sam_edge.modeling import checkpoint, families
from sam_edge.modeling.checkpoint import load_model, read_state
from tests.modeling.tiny_sam import TINY, build

State = dict[str, Tensor]
PUBLIC = ("sam_vit_b", "mobile_sam", "repvit_sam", "edge_sam", "efficient_sam_ti", "efficientvit_sam_l0")
"""Families of which the shared folder lists the public checkpoint's tensors."""


@pytest.fixture(autouse=True)
def tiny_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "tiny", TINY)


@pytest.fixture
def state() -> State:
    return dict(build().state_dict())


def save_torch(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


SAVERS: dict[str, Callable[[State, Path], object]] = {
    "zip": torch.save,
    "legacy pickle": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": safetensors.torch.save_file,
    "nested in model": lambda state, path: torch.save({"model": state, "epoch": 3}, path),
    "nested in state_dict": lambda state, path: torch.save({"state_dict": state}, path),
}


@pytest.mark.parametrize("how", SAVERS)
@pytest.mark.parametrize("family", ["tiny", None])
def test_good_checkpoints(how: str, family: str | None, state: State, tmp_path: Path) -> None:
    # The name says nothing: formats are told apart by content.
    path = tmp_path / "weights.bin"
    SAVERS[how](state, path)
    name, model = load_model(path, family)
    assert name == "tiny"
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_float16_weights_become_float32(state: State, tmp_path: Path) -> None:
    path = save_torch({key: value.half() for key, value in state.items()}, tmp_path / "half.pt")
    _, model = load_model(path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def refusal(path: Path, family: str | None = "tiny") -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path, family)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_missing_unexpected_and_misshapen_keys_are_listed(state: State, tmp_path: Path) -> None:
    removed = [key for key in state if "norm1" in key]
    for key in removed:
        del state[key]
    state["extra.weight"] = torch.zeros(1)
    state["mask_decoder.iou_token.weight"] = torch.zeros(2, 5)
    message = refusal(save_torch(state, tmp_path / "odd.pth"))
    assert f"missing: {removed[0]}, {removed[1]}, {removed[2]}, ... ({len(removed)} in all)" in message
    assert "unexpected: extra.weight" in message
    assert "misshapen: mask_decoder.iou_token.weight (2, 5) instead of (1, 32)" in message


def test_weights_that_are_no_numbers(state: State, tmp_path: Path) -> None:
    state["mask_decoder.iou_token.weight"][0, 0] = float("nan")
    assert "not finite: mask_decoder.iou_token" in refusal(save_torch(state, tmp_path / "nan.pth"))


class Code:
    """A pickle that would write a file if anybody unpickled it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_pickle_is_not_run(save: Callable[[object, Path], object], tmp_path: Path) -> None:
    save({"weight": Code(tmp_path / "ran")}, tmp_path / "evil.pth")
    assert "not run" in refusal(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"not weights at all\n", "not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n0000", "not a checkpoint"),
        (b"PK\x03\x04 not really a zip file", "damaged"),
        (b"\x80\x02}q\x00.", "not saved by PyTorch"),
        ((99999).to_bytes(8, "little") + b'{"a":', "damaged"),
    ],
)
def test_files_that_are_no_weights(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert complaint in refusal(path)


@pytest.mark.parametrize("how", ["zip", "legacy pickle", "safetensors"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_truncated_files(how: str, share: float, state: State, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    SAVERS[how](state, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "damaged" in refusal(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path / "nowhere.pth")
    assert "cannot read" in refusal(tmp_path)


def test_things_that_are_no_tensors(state: State, tmp_path: Path) -> None:
    mixed = save_torch({**state, "epoch": 3}, tmp_path / "mixed.pth")
    assert "'epoch'" in refusal(mixed)
    assert "does not hold weights" in refusal(save_torch([1, 2], tmp_path / "list.pth"))


def test_unknown_family_lists_the_known(state: State, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'sam_vit_x': choose one of sam_vit_b, .*nano"):
        load_model(save_torch(state, tmp_path / "good.pth"), "sam_vit_x")


def test_foreign_weights_are_of_no_family(tmp_path: Path) -> None:
    path = save_torch({"backbone.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    assert "of no family known here" in refusal(path, family=None)


def test_nearly_right_weights_are_guessed_and_then_refused(state: State, tmp_path: Path) -> None:
    del state["mask_decoder.iou_token.weight"]
    message = refusal(save_torch(state, tmp_path / "near.pth"), family=None)
    assert "does not fit tiny, the nearest family: missing: mask_decoder.iou_token.weight" in message
    assert "--family" not in message
    assert "check --family, or leave it out" in refusal(tmp_path / "near.pth")


@pytest.mark.parametrize("name", families.FAMILIES)
def test_families_are_told_apart_by_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        state = families.FAMILIES[name].build().state_dict()
    assert checkpoint.guess_family(state, "file") == name
    # The weights of a shallower sister are part of a deeper one's: one that is missing changes nothing.
    del state["mask_decoder.iou_token.weight" if "sam" in name else next(iter(state))]
    assert checkpoint.guess_family(state, "file") == name


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("efficientvit_sam_l0", 34.8),
        ("efficientvit_sam_l1", 47.7),
        ("efficientvit_sam_l2", 61.3),
        ("efficientvit_sam_xl0", 117.0),
        ("efficientvit_sam_xl1", 203.3),
    ],
)
def test_parameters_are_as_many_as_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = families.FAMILIES[name].build()
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.05001
    )


@pytest.mark.shared
@pytest.mark.parametrize("family", PUBLIC)
def test_keys_are_the_public_checkpoints(family: str, shared: Path) -> None:
    entries = json.loads((shared / "fixtures" / f"{family}.manifest.json").read_text())
    public = {entry["name"]: tuple(entry["shape"]) for entry in entries}
    with torch.device("meta"):
        ours = families.FAMILIES[family].build().state_dict()
    assert {name: tuple(value.shape) for name, value in ours.items()} == public


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model.", "net.sam."]
)
@pytest.mark.parametrize("nest", [(), ("model_state_dict",), ("state_dict", "model")])
def test_prefixes_and_nesting_are_taken_off_and_said(
    prefix: str, nest: tuple[str, ...], state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content: dict[str, object] = dict(under(prefix, state))
    for key in nest:
        content = {key: content, "optimizer": {"lr": 0.1}, "epoch": 3}
    name, model = load_model(save_torch(content, tmp_path / "wrapped.pth"))
    assert name == "tiny"
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert f"{prefix}{next(iter(state))} is read as {next(iter(state))}" in caplog.text


def test_modules_that_are_wrapped_one_by_one(state: State, tmp_path: Path) -> None:
    wrapped = {
        key.replace("image_encoder.", "image_encoder._orig_mod.module."): value for key, value in state.items()
    }
    assert wrapped.keys() != state.keys()
    assert load_model(save_torch(wrapped, tmp_path / "parts.pth"))[0] == "tiny"


def test_what_lightning_keeps_beside_the_model_is_left_out_and_said(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {**under("model.", state), "criterion.encoder.weight": torch.ones(2), "loss.scale": torch.ones(1)}
    path = save_torch({"state_dict": content, "pytorch-lightning_version": "2.4"}, tmp_path / "last.ckpt")
    assert load_model(path)[0] == "tiny"
    assert "left out: criterion.encoder.weight, loss.scale" in caplog.text


def test_a_teacher_beside_the_model_is_not_taken_for_it(state: State, tmp_path: Path) -> None:
    teacher = {key: value + 1 for key, value in under("teacher.", state).items()}
    assert "unexpected: teacher." in refusal(save_torch({**teacher, **state}, tmp_path / "both.pth"))


def test_plain_checkpoints_are_not_talked_about(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(save_torch({"model": state}, tmp_path / "plain.pth"))
    assert caplog.text == ""


def test_the_names_of_transformers_are_named(tmp_path: Path) -> None:
    names = (
        "vision_encoder.layers.0.attn.qkv.weight",
        "shared_image_embedding.positional_embedding",
        "mask_decoder.x",
    )
    for prefix in ("", "model."):
        path = save_torch({prefix + name: torch.zeros(2) for name in names}, tmp_path / "hf.pth")
        assert "transformers (vision_encoder...)" in refusal(path, family=None)


def test_every_family_has_the_parts_that_prefixes_are_told_by() -> None:
    for family in families.FAMILIES.values():
        with torch.device("meta"):
            names = family.build().state_dict()
        assert {name.split(".")[0] for name in names} <= set(checkpoint.PARTS)
        assert not checkpoint.WRAPPERS & {part for name in names for part in name.split(".")}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "not a regular file" in refusal(tmp_path / "pipe.pth")


def test_read_state_takes_the_inner_of_nested_weights(tmp_path: Path) -> None:
    path = save_torch({"model": {"state_dict": {"weight": torch.ones(2)}}}, tmp_path / "deep.pth")
    assert list(read_state(path)) == ["weight"]
