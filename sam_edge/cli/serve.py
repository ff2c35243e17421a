"""`sam-edge serve`: a camera, an eye tracker and a model, for everybody on the network who may ask."""

from __future__ import annotations

import asyncio
import signal
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import click

from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.progress import progress
from sam_edge.errors import InputError
from sam_edge.lazy import named_extras
from sam_edge.loading import load
from sam_edge.service.config import Settings
from sam_edge.service.scene import EndlessScene
from sam_edge.streaming.sinks.sink import find_sink
from sam_edge.streaming.sources.source import FrameSource, open_source


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
def serve(config: str | None, outputs: tuple[str, ...], **given: Any) -> int:
    """Serve the masks of what is looked at: HTTP, WebSocket, metrics, and a page to look at them.

    Without --source it shows a generated scene: open the page and point. SIGTERM and Ctrl-C
    end it, files whole.

    \b
    Examples:
      sam-edge serve
      sam-edge serve --source 0 --gaze neon://neon.local
      sam-edge serve --config sam-edge.toml
      sam-edge serve --source 0 --host 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem
    """
    with named_extras("serve"):
        from sam_edge.service.auth import read_token
        from sam_edge.service.run import serve as run

    settings = Settings.read(config) if config else Settings()
    settings = with_options(settings, outputs=outputs or None, **given)
    # Before anything slow is opened.
    settings.service.check(read_token(settings.service.token_file) is not None)
    for name in settings.outputs:
        find_sink(name)
    model = settings.model
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
            say_engine(segmenter)

            async def main() -> None:
                stop = asyncio.Event()
                loop = asyncio.get_running_loop()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, stop.set)
                await run(settings, segmenter, frames, say=_say, stop=stop)

            asyncio.run(main())
    return 0


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
