"""How long a prompt takes in a browser: the viewer's own decoder (`?local`) in headless Chromium.

python -m sam_edge.benchmarks.speed.browser [--model nano] [--size WxH] [--prompts N] [--chromium PATH] [--json]

Times a prompt from the page's question to the mask on the frame, in the page: `whole` is all of
it, `decode` the graph, `masks` the mask's pixels. `--model sam` is SAM's decoder on a 64 x 64 embedding,
exported with random weights (needs pip install 'sam-edge[export]'). The load of the processor when it began is
said too: a browser needs idle cores.
Needs Debian's chromium and pip install playwright.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import InputSize
from sam_edge.cli.options import parse_size
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.lazy import import_object
from sam_edge.loading import load
from sam_edge.service.live.wire import embedding_message
from sam_edge.service.page import FOLDER, HEADERS, TYPES
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import SessionOptions

SAM = "sam"
WARM_UP = 10
PATIENCE_MS = 300_000
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
MEASURE = """async ([width, height, warmUp, prompts]) => {
  const { parseBinary } = await import("/connection.js");
  const { LocalDecoder } = await import("/local.js");
  const decoder = new LocalDecoder();
  const { threads } = await decoder.load();
  await decoder.keep("live", parseBinary(await (await fetch("/embedding")).arrayBuffer()));
  const found = { threads, whole: [], decode: [], masks: [] };
  for (let at = 0; at < warmUp + prompts; at++) {
    const share = ((at * 37) % 100) / 100;
    const begin = performance.now();
    const answer = await decoder.decode("live", { points: [[width * share, height / 2, 1]], box: null }, 0);
    if (at < warmUp) continue;
    found.whole.push(performance.now() - begin);
    found.decode.push(answer.decodeMs);
    found.masks.push(answer.masksMs);
  }
  return found;
}"""


def measure(model: str, frame_wh: tuple[int, int], prompts: int, chromium: str) -> dict[str, Any]:
    """Milliseconds of a prompt: medians and 95th percentiles.

    Raises:
        InputError: there is no browser, or no driver for it.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise InputError("playwright is not installed", hint="pip install playwright") from error
    path = shutil.which(chromium)
    if path is None:
        raise InputError("there is no browser", path=chromium, hint="apt-get install chromium")
    load_before = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        graph, embedding = _sam(Path(folder), frame_wh) if model == SAM else _shipped(model, frame_wh)
        with (
            _served(graph.read_bytes(), embedding_message(embedding, "float16")) as url,
            sync_playwright() as driver,
        ):
            browser = driver.chromium.launch(executable_path=path, args=list(QUIET))
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            found = page.evaluate(MEASURE, [*frame_wh, WARM_UP, prompts])
            version = browser.version
            browser.close()
    times = {
        name: {"median": round(float(np.median(ms)), 1), "p95": round(float(np.percentile(ms, 95)), 1)}
        for name, ms in found.items()
        if name != "threads"
    }
    head = {"model": model, "frame_wh": list(frame_wh), "chromium": version, "threads": found["threads"]}
    return {**head, "load_before": round(load_before, 1), "ms": times}


def _shipped(model: str, frame_wh: tuple[int, int]) -> tuple[Path, Embedding]:
    bundle = find_bundle(model)
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    with load(model) as segmenter:
        name = next(iter(bundle.manifest.decoders))
        return bundle.path / bundle.manifest.graphs[name].file, segmenter.encode(image)


def _sam(folder: Path, frame_wh: tuple[int, int]) -> tuple[Path, Embedding]:
    """SAM's decoder and random features of its shapes."""
    graph: Path = import_object("sam_edge.exporters.random_graphs:write_decoders")(folder)["decoder"]
    engine = find_runtime("onnxruntime")(graph, SessionOptions(threads=1))
    random = np.random.default_rng(0)
    own = ("point_coords", "point_labels", "mask_logits", "has_mask")
    tensors = {
        spec.name: random.standard_normal(
            [side if isinstance(side, int) else 1 for side in spec.shape], np.float32
        )
        for spec in engine.inputs
        if spec.name not in own
    }
    engine.close()
    view = InputSize(long_side=1024, multiple=64, square=True).view(frame_wh)
    return graph, Embedding(tensors, view, 0, SAM)


@contextmanager
def _served(decoder: bytes, embedding: bytes) -> Iterator[str]:
    """The viewer's files beside a decoder and an embedding, on a page that shows nothing."""
    made = {"/": b"<!doctype html>", "/v1/decoder.onnx": decoder, "/embedding": embedding}
    files = {"/" + path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = files.get(self.path)
            body = made.get(self.path) or (path.read_bytes() if path else b"")
            self.send_response(200 if body else 404)
            kind = TYPES.get(path.suffix if path else ".html", "text/html")
            for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            """Says nothing: standard error is the user's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help=f"A model folder, or {SAM}.")
@size_option
@click.option("--prompts", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--chromium", default="chromium", show_default=True, help="The browser's program.")
@json_option
def main(model: str, size: str, prompts: int, chromium: str, as_json: bool) -> None:
    """Time a prompt in headless Chromium.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.browser
      python -m sam_edge.benchmarks.speed.browser --model sam --json
    """
    found = measure(model, parse_size(size, "--size"), prompts, chromium)
    if as_json:
        click.echo(json.dumps(found))
        return
    where = f"Chromium {found['chromium']}, {found['threads']} threads, load {found['load_before']}"
    click.echo(f"{found['model']}, {size}, {where}")
    for name, ms in found["ms"].items():
        click.echo(f"{name:8} median {ms['median']:6.1f} ms, 95 % in {ms['p95']:6.1f} ms")


if __name__ == "__main__":
    main()
