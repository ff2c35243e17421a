"""`sam-edge serve`, as a process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from sam_edge.cli import main

pytest.importorskip("aiohttp", reason="the service needs the extra serve")
pytest.importorskip("prometheus_client", reason="the service needs the extra serve")


def test_it_serves_a_video_and_ends_at_sigterm_with_its_output_whole(tmp_path: Path) -> None:
    out = tmp_path / "seen.jsonl"
    command = [sys.executable, "-m", "sam_edge", "serve", "--port", "0", "--runtime", "null"]
    with subprocess.Popen(
        [*command, "--source", "scene:1", "--output", str(out)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving on" in line)
        found = re.search(r"http://[\d.:]+/", line)
        assert found is not None
        with urllib.request.urlopen(found[0] + "v1/info", timeout=20) as answer:
            assert json.load(answer)["model"]["name"] == "nano"
        # The preview's first bytes come with the first frame.
        with urllib.request.urlopen(found[0] + "v1/preview.mjpeg", timeout=20) as preview:
            assert preview.read(16)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr.read()
    assert out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--tls-cert", "x.pem"], "certificate and its key"),
        (["--token-file", "/nowhere"], "cannot read the token"),
        (["--config", "/nowhere.toml"], "cannot read"),
        (["--output", "x.what"], "cannot tell what to write"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAM_EDGE_TOKEN", raising=False)
    assert main(["serve", *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
