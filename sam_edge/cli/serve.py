"""`sam-edge serve`: a camera, an eye tracker and a model, for everybody on the network who may ask."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import click

from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.cli.engine_line import engine_line
from sam_edge.cli.progress import progress
from sam_edge.errors import InputError, SamEdgeError
from sam_edge.lazy import named_extras
from sam_edge.loading import load
from sam_edge.segmenter import Segmenter
from sam_edge.service.config import Settings
from sam_edge.service.log import log_as_json
from sam_edge.service.notify import Notifier, beating
from sam_edge.service.scene import EndlessScene
from sam_edge.streaming.sinks.sink import find_sink
from sam_edge.streaming.sources.source import FrameSource, open_source

Say = Callable[[str], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--config", metavar="FILE", help="TOML, see docs/service.md; the options here go before it.")
@click.option("--source", metavar="URI", help="A camera, stream, video or scene:SEED.  [default: a scene]")
@click.option("--gaze", metavar="URI", help="An eye tracker.  [default: the pointer of who looks]")
@click.option("--output", "outputs", metavar="URI", multiple=True, help="Also write there, as `run` does.")
@click.option("--model", "name", help="A shipped model, or an exported folder.  [default: nano]")
@click.option("--runtime", metavar="NAME[:DEVICE]", help="Such as onnxruntime.  [default: the best here]")
@click.option("--precision", type=click.Choice(PRECISIONS), help="[default: fp16 where there is one]")
@click.option("--threads", type=click.IntRange(1, 1024), help="Cores an engine may use.  [default: all]")
@click.option("--host", help="Others than loopback need a token and TLS.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: 8080; 0: any free one]")
@click.option("--token-file", metavar="FILE", help="The token; else SAM_EDGE_TOKEN in the environment.")
@click.option("--tls-cert", metavar="FILE", help="The certificate, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, in PEM.")
@click.option("--behind-proxy", is_flag=True, default=None, help="A proxy in front brings TLS.")
@click.option("--log-json", is_flag=True, help="What it says as lines of JSON, for journald.")
def serve(config: str | None, outputs: tuple[str, ...], log_json: bool, **given: Any) -> int:
    """Serve the masks of what is looked at: HTTP, WebSocket, metrics, and a page to look at them.

    Without --source it shows a generated scene: open the page and point. SIGTERM and Ctrl-C
    end it, files whole. SIGHUP reads the file of --config again.

    \b
    Examples:
      sam-edge serve
      sam-edge serve --source 0 --gaze neon://neon.local
      sam-edge serve --config sam-edge.toml
      sam-edge serve --source 0 --host 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem
    """
    with named_extras("serve"):
        from sam_edge.service.auth import read_token

    def read() -> Settings:
        found = with_options(Settings.read(config) if config else Settings(), outputs=outputs or None, **given)
        # Before anything slow is opened.
        found.service.check(read_token(found.service.token_file) is not None)
        for name in found.outputs:
            find_sink(name)
        return found

    settings: Settings | None = read()
    assert settings is not None
    token = read_token(settings.service.token_file)
    say = _log([token] if token else []) if log_json else _say
    while settings is not None:
        settings = _serve(settings, say, read if config else None)
    return 0


def _serve(settings: Settings, say: Say, read: Callable[[], Settings] | None) -> Settings | None:
    """Serve until it is ended, or until SIGHUP asks for settings that can be used: then these."""
    model = settings.model
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with closing(_open(settings.source)) as frames:
        frame_wh = frames.info.frame_wh
        precision = cast("Precision | None", model.precision or None)
        with load(
            model.name,
            runtime=model.runtime or None,
            precision=precision,
            threads=model.threads or None,
            frame_wh=frame_wh,
        ) as segmenter:
            if segmenter.engine is not None:
                say(engine_line(segmenter.manifest, segmenter.engine))
            try:
                renewed = asyncio.run(_listen(settings, segmenter, frames, say, read))
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                if read is not None:
                    # One that comes before the next round listens would end it.
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return renewed


async def _listen(
    settings: Settings,
    segmenter: Segmenter,
    frames: FrameSource,
    say: Say,
    read: Callable[[], Settings] | None,
) -> Settings | None:
    """One round of `_serve`; systemd is told how it goes."""
    from sam_edge.service.run import serve as run

    notifier = Notifier.from_environment()
    stop = asyncio.Event()
    renewed: list[Settings] = []

    def end() -> None:
        renewed.clear()
        notifier.stopping()
        stop.set()

    def reload(read: Callable[[], Settings]) -> None:
        try:
            found = read()
        except SamEdgeError as error:
            say(f"the old configuration stays: {error}")
            return
        if not stop.is_set():
            renewed.append(found)
            notifier.reloading()
            stop.set()

    def ready(line: str) -> None:
        say(line)
        notifier.ready(line)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if read is not None:
        loop.add_signal_handler(signal.SIGHUP, reload, read)
    # A loop that stands still misses its beats.
    async with beating(notifier, lambda: True):
        await run(settings, segmenter, frames, say=ready, stop=stop)
    return renewed[0] if renewed else None


def with_options(settings: Settings, **given: Any) -> Settings:
    """Settings with what the command line says instead; None: nothing."""
    said = {name: value for name, value in given.items() if value is not None}

    def part(table: Any) -> Any:
        return replace(table, **{name: said[name] for name in vars(table) if name in said})

    model, service = part(settings.model), part(settings.service)
    if model.precision and model.precision not in PRECISIONS:
        raise InputError(f"model.precision is {model.precision!r}", hint=f"choose from {', '.join(PRECISIONS)}")
    whole: Settings = replace(part(settings), model=model, service=service)
    return whole


def _open(source: str) -> FrameSource:
    if source:
        return open_source(source)
    with progress() as bar:
        return EndlessScene(progress=bar)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _log(secrets: list[str]) -> Say:
    log_as_json(secrets)
    return logging.getLogger("sam_edge.service").info
