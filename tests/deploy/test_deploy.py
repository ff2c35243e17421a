"""What is deployed is what its tools take: the unit, the container files, the configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sam_edge.cli import main
from sam_edge.service.config import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERS = sorted(DEPLOY.glob("Containerfile.*"))
LEAST_EXPOSED = 2.5
"""Of 10, as `systemd-analyze security` counts."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    text = (DEPLOY / "sam-edge.service").read_text()
    path = tmp_path / "sam-edge.service"
    path.write_text(text.replace("/opt/sam-edge/bin/sam-edge", sys.executable))
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogsSec="))
    assert "WatchdogsSec" in analyze("verify", "--man=no", str(unit)).stderr


def test_the_unit_gives_the_service_little(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze looks at running units only")
    found = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= LEAST_EXPOSED


def test_what_the_unit_starts_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    line = re.search(r"^ExecStart=(.*)$", (DEPLOY / "sam-edge.service").read_text(), re.MULTILINE)
    assert line is not None
    program, *words = line[1].split()
    assert program.endswith("/sam-edge")
    # The options are known: it is the file that is missing.
    assert main([*words, "--help"]) == 0
    assert "--log-json" in capsys.readouterr().out


def test_the_configuration_can_be_read() -> None:
    settings = Settings.read(DEPLOY / "sam-edge.toml")
    settings.service.check(has_token=False)
    assert settings.source == "/dev/video0"


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.suffix[1:])
def test_a_linter_has_nothing_to_say(path: Path) -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.suffix[1:])
def test_a_container_has_a_known_base_and_little_right(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    for base in bases:
        name, _, tag = base.rpartition(":")
        # A registry, and a tag of one release.
        assert "." in name.split("/")[0]
        assert re.search(r"\d+\.\d+", tag)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001"]
    assert not re.search(r"(?i)(token|password|secret|key)\s*=", text)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for one in source.split():
            assert (ROOT / one).exists(), f"{path.name} copies {one}, which is not there"


def test_the_containers_copy_every_folder_of_the_package() -> None:
    folders = re.findall(r'^"sam_edge\.\w+" = "(\w+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(folders) == 5
    for path in CONTAINERS:
        for folder in folders:
            assert f"COPY {folder} {folder}\n" in path.read_text()
