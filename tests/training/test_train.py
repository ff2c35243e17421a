"""The whole way on tiny data: train, stop, go on, ship."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sam_edge.errors import CheckpointError, InputError, SamEdgeError
from sam_edge.modeling.nano.model import PIXEL_MEAN, PIXEL_STD, build_nano
from sam_edge.training.data.batches import Batches
from sam_edge.training.data.images import load_packs
from sam_edge.training.data.pack import TRAIN_SETS, entries, write_packs
from sam_edge.training.runs.checkpoint import (
    Averaged,
    export_weights,
    load_checkpoint,
    load_weights,
    save_trainable,
)
from sam_edge.training.runs.run import PEAK_RATE, Run, freeze_norms, load_average
from sam_edge.training.runs.schedule import PHASES, Crops, Length, learning_rate, phase_at
from sam_edge.training.steps import rounds as rounds_module
from sam_edge.training.steps import step as step_module
from sam_edge.training.steps.rounds import MOST_ROUNDS, answer, draw_rounds, interactive_loss, learns, normalise
from sam_edge.training.steps.step import advising_on_memory, train_step
from sam_edge.training.train import choose_device


@pytest.fixture(scope="module")
def packs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    write_packs(entries(tiny_data, "train", TRAIN_SETS), folder, 10**9)
    return folder


@pytest.fixture(scope="module")
def batch(packs: Path) -> dict[str, torch.Tensor]:
    batches = Batches(load_packs(packs), 0)
    batches.set_crops((Crops(64, 2),))
    made: dict[str, torch.Tensor] = batches[0]
    return made


def test_a_step_lowers_the_loss_on_its_batch(
    tmp_path: Path, batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "learning_rate", lambda *_: 1e-3)
    monkeypatch.setattr(step_module, "draw_rounds", lambda _: 2)
    run = Run(tmp_path, Length(1.0), 0, torch.device("cpu"))
    losses = [train_step(run, batch)["loss"] for _ in range(8)]
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])


def test_a_run_learns_at_the_rate_it_was_given(tmp_path: Path, batch: dict[str, torch.Tensor]) -> None:
    for peak in (1e-3, 4e-3):
        run = Run(tmp_path, Length(1.0, steps=9), 0, torch.device("cpu"), peak_rate=peak)
        run.step = 3
        train_step(run, batch)
        (rate,) = {group["lr"] for group in run.optimiser.adam.param_groups}
        assert rate == pytest.approx(learning_rate(peak, 3 / 9))


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, batch: dict[str, torch.Tensor]) -> None:
    first = Run(tmp_path, Length(1.0, steps=9), 0, torch.device("cpu"))
    train_step(first, batch)
    first.elapsed = 17.0
    first.save()
    second = Run(tmp_path, Length(1.0, steps=9), 0, torch.device("cpu"))
    second.resume()
    assert (second.step, second.elapsed) == (1, 17.0)
    assert train_step(first, batch)["loss"] == pytest.approx(train_step(second, batch)["loss"], rel=1e-3)
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    assert all(torch.allclose(ours[k].float(), theirs[k].float(), atol=1e-3) for k in ours)
    average = load_average(first.checkpoint).state_dict()
    assert set(average) == set(ours)


def test_a_loss_that_is_no_number_stops_and_keeps_the_weights(
    tmp_path: Path, batch: dict[str, torch.Tensor]
) -> None:
    run = Run(tmp_path, Length(1.0), 0, torch.device("cpu"))
    with torch.no_grad():
        run.model.decoder.masks.weight.fill_(float("nan"))
    before = [p.clone() for p in run.average.model.parameters()]
    with pytest.raises(SamEdgeError, match="step 0"):
        train_step(run, batch)
    after = run.average.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_the_command_trains_in_one_process_and_goes_on_in_two(
    tiny_data: Path, packs: Path, tmp_path: Path
) -> None:
    arguments = ["--packs", str(packs), "--data", str(tiny_data), "--out", str(tmp_path)]
    arguments += ["--every", "0.0001", "--batch", "0.1"]
    for steps, processes in ((1, 1), (2, 2)):
        lengths = ["--steps", str(steps), "--processes", str(processes)]
        command = [sys.executable, "-m", "sam_edge.training.train", *arguments, *lengths]
        # Its own process, as for a user: the command forks, which a test runner with threads should not.
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
        assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == steps
    assert {"nano.safetensors", "log.csv", "curves.png"} <= {p.name for p in tmp_path.iterdir()}
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("step,minutes,size")
    assert len(lines) >= 3


def test_shipped_weights_equal_the_averaged_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_nano()
    file = tmp_path / "nano.safetensors"
    export_weights(model, file, {"steps": "3"})
    assert file.stat().st_size <= 7e6
    with safe_open(file, "pt") as stored:
        about = stored.metadata()
        assert about["family"] == "nano"
        assert about["steps"] == "3"
        assert all(stored.get_tensor(key).dtype == torch.float16 for key in stored.keys())  # noqa: SIM118 - no mapping, cannot be iterated over
    plain = load_weights(file)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = model.encoder(image), plain.encoder(image)
    assert all(torch.allclose(ours[k], theirs[k], atol=2e-2) for k in ours)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x04N."])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="broken"):
        load_weights(file)
    with pytest.raises(CheckpointError, match="broken"):
        load_checkpoint(file)


def test_the_average_follows_the_model() -> None:
    model = build_nano()
    average = Averaged(model, 0.5)
    with torch.no_grad():
        model.decoder.masks.weight.add_(1.0)
    for _ in range(30):
        average.update(model)
    assert torch.allclose(average.model.decoder.masks.weight, model.decoder.masks.weight, atol=1e-4)


def test_the_beginning_of_the_schedule_can_be_left_out() -> None:
    assert [Length(2.0, steps=4, skip=0.6).share(0.0, step) for step in range(6)] == pytest.approx(
        [0.6, 0.7, 0.8, 0.9, 1.0, 1.0]
    )
    assert Length(2.0, skip=0.5).share(60.0, 0) == 0.75


def test_the_schedule_warms_up_cools_down_and_grows_the_crops() -> None:
    rates = [learning_rate(PEAK_RATE, share) for share in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(PEAK_RATE, rel=1e-3)
    assert rates[0] < 0.02 * PEAK_RATE
    assert rates[-1] == pytest.approx(0.01 * PEAK_RATE)
    sizes = [max(crop.size for crop in phase_at(share).crops) for share in np.linspace(0, 1, 101)]
    assert sizes == sorted(sizes)
    assert phase_at(1.0) == PHASES[-1]
    assert all(crop.size % 32 == 0 for phase in PHASES for crop in phase.crops)


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="--device cpu"):
        choose_device("cuda")


def test_the_shown_answer_is_the_surest_or_the_single_one() -> None:
    logits = torch.arange(4.0).view(1, 4, 1, 1).expand(2, 4, 2, 2)
    iou = torch.tensor([[0.9, 0.1, 0.7, 0.2], [0.9, 0.1, 0.7, 0.2]])
    shown = answer(logits, iou, torch.tensor([True, False]))
    assert shown[:, 0, 0, 0].tolist() == [0.0, 2.0]


def test_every_round_adds_one_click(batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_nano()
    seen: list[int] = []
    forward_all = model.decoder.forward_all

    def counting(features: dict[str, torch.Tensor], *prompt: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(int((prompt[1] != -2).sum()))
        return forward_all(features, *prompt)

    monkeypatch.setattr(model.decoder, "forward_all", counting)
    monkeypatch.setattr(rounds_module, "WITHOUT_CLICK", 0.0)
    images = normalise(batch["images"], torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD))
    interactive_loss(model, model.encoder(images), batch, 3, np.random.default_rng(0))
    assert np.diff(seen).tolist() == [len(batch["coords"])] * 2


def test_a_round_without_a_click_has_the_answer_before_it_to_go_by(
    batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_nano()
    seen: list[tuple[int, bool]] = []
    forward_all = model.decoder.forward_all

    def noting(features: dict[str, torch.Tensor], *prompt: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append((int((prompt[1] != -2).sum()), bool((prompt[3] == 1).all())))
        return forward_all(features, *prompt)

    monkeypatch.setattr(model.decoder, "forward_all", noting)
    monkeypatch.setattr(rounds_module, "WITHOUT_CLICK", 1.0)
    images = normalise(batch["images"], torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD))
    interactive_loss(model, model.encoder(images), batch, 2, np.random.default_rng(0))
    assert seen[0][0] == seen[1][0]
    assert seen[1][1]


def test_rounds_are_mostly_few_and_sometimes_as_many_as_sam_has() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_rounds(rng) for _ in range(3000)])
    assert (drawn <= 2).mean() > 0.7
    assert set(range(1, MOST_ROUNDS + 1)) == set(drawn)
    assert [learns(index, 6) for index in range(6)] == [True, False, False, False, True, True]
    assert all(learns(index, 3) for index in range(3))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: 9 bytes")]
)
def test_out_of_memory_names_a_batch_size(error: Exception) -> None:
    with pytest.raises(SamEdgeError, match=r"--batch 0\.5"), advising_on_memory(1.0, 0.5):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), advising_on_memory(1.0, 0.5):
        raise RuntimeError("shapes differ")


def test_a_length_counts_steps_or_seconds() -> None:
    assert Length(2.0).share(60.0, 999) == 0.5
    assert Length(2.0, steps=10).share(60.0, 4) == pytest.approx(0.4)
    assert Length(2.0, steps=10).share(0.0, 99) == 1.0


def test_a_batch_factor_keeps_one_image() -> None:
    assert [Crops(64, 12).times(factor).count for factor in (2.0, 0.5, 0.01)] == [24, 6, 1]


def test_a_gradient_that_is_no_number_stops_before_the_step(
    tmp_path: Path, batch: dict[str, torch.Tensor]
) -> None:
    run = Run(tmp_path, Length(1.0), 0, torch.device("cpu"))
    run.model.decoder.masks.weight.register_hook(lambda grad: grad * float("inf"))
    before = [p.detach().clone() for p in run.model.parameters()]
    with pytest.raises(SamEdgeError, match="the gradient is"):
        train_step(run, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


def test_a_run_starts_from_another_runs_weights(tmp_path: Path) -> None:
    weights = tmp_path / "nano_trainable.safetensors"
    with torch.no_grad():
        (given := build_nano()).decoder.masks.weight.fill_(0.25)
    save_trainable(given, weights)
    run = Run(tmp_path / "run", Length(1.0), 1, torch.device("cpu"))
    run.start_from(weights)
    for model in (run.model, run.average.model):
        assert torch.equal(model.decoder.masks.weight, given.decoder.masks.weight)
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_tuning_the_iou_leaves_the_masks(
    tmp_path: Path, batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "learning_rate", lambda *_: 1e-2)
    run = Run(tmp_path, Length(1.0), 0, torch.device("cpu"))
    run.tune_only_iou()
    freeze_norms(run.model)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    train_step(run, batch)
    changed = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.iou.") for name in changed)


def test_fused_weights_are_not_a_start(tmp_path: Path) -> None:
    export_weights(build_nano(), tmp_path / "nano.safetensors", {})
    run = Run(tmp_path / "run", Length(1.0), 1, torch.device("cpu"))
    with pytest.raises(CheckpointError, match="not nano's trainable weights"):
        run.start_from(tmp_path / "nano.safetensors")
