"""A plan that was built is used by nobody before it was compared, whatever becomes of the comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.bundle.folder import Bundle
from sam_edge.cli import main
from sam_edge.errors import EngineError, FidelityError, OutputError, PlanError
from sam_edge.loading import load
from sam_edge.runtimes.tensorrt import prepare as tensorrt_open
from sam_edge.runtimes.tensorrt.plan_cache import key_path, read_key
from sam_edge.runtimes.tensorrt.plan_verdicts import accept_plan, refuse_plan
from tests.runtimes.tensorrt.simulated_device import Device
from tests.runtimes.tensorrt.test_plans_rebuilt import wrong_kernel
from tests.toy_model import toy_bundle, with_answers


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return with_answers(toy_bundle(tmp_path))


def build_without_comparing(model: Bundle, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def break_off(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(tensorrt_open, "run_self_test", break_off)
        with pytest.raises(type(error)):
            load(model.path, runtime="tensorrt")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("out of device memory")])
def test_after_a_comparison_that_broke_off_wrong_plans_are_found_out(
    error: BaseException, model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.spoil = wrong_kernel
    build_without_comparing(model, monkeypatch, error)
    assert device.names() == [".blob", "decoder", "encoder"]
    with pytest.raises(FidelityError, match="answers otherwise"):
        load(model.path, runtime="tensorrt")
    assert len(device.built) == 2


def test_after_a_comparison_that_broke_off_nothing_is_built_again(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build_without_comparing(model, monkeypatch, KeyboardInterrupt())
    caplog.clear()
    load(model.path, runtime="tensorrt").close()
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith("it was built, and never compared with PyTorch's answers")
    assert said[-1].endswith("mask IoU 1.0000 against PyTorch")
    caplog.clear()
    load(model.path, runtime="tensorrt").close()
    assert not caplog.records
    assert len(device.built) == 2


def test_nobody_opens_a_plan_that_is_being_compared(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.spoil = wrong_kernel
    real = tensorrt_open.run_self_test
    refused = []

    def meanwhile(*arguments: object) -> object:
        for graph in ("encoder", "decoder"):
            with pytest.raises(PlanError, match="never compared"):
                device.open(model.graph(graph))
            refused.append(graph)
        return real(*arguments)

    monkeypatch.setattr(tensorrt_open, "run_self_test", meanwhile)
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert refused == ["encoder", "decoder"]


def test_the_command_compares_what_was_built_before(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sam_edge.runtimes.tensorrt.cli.find_build_environment", device.environment)
    device.spoil = wrong_kernel
    build_without_comparing(model, monkeypatch, KeyboardInterrupt())
    assert main(["build", str(model.path)]) == 1
    assert "answers otherwise than PyTorch" in capsys.readouterr().err
    assert len(device.built) == 2


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--no-repair"]])
def test_what_verify_found_wrong_is_not_used(arguments: list[str], model: Bundle, device: Device) -> None:
    device.spoil = wrong_kernel
    assert main(["verify", str(model.path), "--runtime", "tensorrt", "--limit", "1", *arguments]) == 1
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert len(device.built) == 2


def test_plans_that_passed_stay_when_another_fails(model: Bundle, device: Device) -> None:
    load(model.path, runtime="tensorrt").close()
    next(device.folder.glob("decoder-*.plan")).write_bytes(b"!")
    device.spoil = wrong_kernel
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert "encoder" in device.names()
    assert "decoder" not in device.names()


def test_what_was_refused_is_built_again_only_by_the_command(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_edge.runtimes.tensorrt.cli.find_build_environment", device.environment)
    device.spoil = wrong_kernel
    assert main(["build", str(model.path)]) == 1
    with pytest.raises(FidelityError, match=r"plans of encoder, decoder .* here .* were refused") as told:
        load(model.path, runtime="tensorrt")
    assert str(told.value).endswith(f"sam-edge build {model.path} --precision fp32 --device cuda")
    assert len(device.built) == 2
    device.spoil = lambda graph: None
    assert main(["build", *str(told.value).partition("sam-edge build ")[2].split()]) == 0
    assert device.names() == [".blob", "decoder", "encoder"]
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 4


def test_wrong_plans_that_cannot_be_removed_are_the_error(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(plan: Path, plan_sha256: str) -> None:
        raise OutputError(f"cannot write {plan}")

    monkeypatch.setattr(tensorrt_open, "refuse_plan", read_only)
    device.spoil = wrong_kernel
    for _ in range(2):
        with pytest.raises(FidelityError, match="answers otherwise"):
            load(model.path, runtime="tensorrt")


def test_what_was_refused_on_another_driver_is_built_here(model: Bundle, device: Device) -> None:
    device.spoil = wrong_kernel
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    for refused in device.folder.glob("*.refused"):
        refused.write_text(refused.read_text().replace('"driver": "', '"driver": "old-'))
    device.spoil = lambda graph: None
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 4


def test_a_verdict_is_of_the_bytes_that_were_compared(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_without_comparing(model, monkeypatch, KeyboardInterrupt())
    plan = next(device.folder.glob("encoder-*.plan"))
    for find_violations in (accept_plan, refuse_plan):
        find_violations(plan, "0" * 64)
        assert read_key(plan).unverified
    key_path(plan).unlink()
    accept_plan(plan, "0" * 64)
    assert not key_path(plan).exists()
