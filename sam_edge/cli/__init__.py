"""The command line: one file a command, imported when it is called.

Errors the package raises on purpose become one line on standard error and exit code 2, or 1 for an engine
that is not what it should be.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import click

from sam_edge.cli.group import LazyGroup
from sam_edge.errors import FidelityError, SamEdgeError

# command -> (where it lives, its line in the overview, so that the overview imports nothing)
COMMANDS = {
    "segment": ("sam_edge.cli.segment:segment", "Mask what points or a box show in an image."),
    "run": ("sam_edge.cli.run:run", "Mask what a gaze recording looks at in a video."),
    "serve": ("sam_edge.cli.serve:serve", "Serve the masks of a live stream on HTTP, with a page to look."),
    "demo": ("sam_edge.cli.demo:demo", "Run the whole pipeline on a generated scene and gaze."),
    "export": ("sam_edge.exporters.cli.export:export", "Turn a PyTorch checkpoint into a model folder."),
    "triton": ("sam_edge.exporters.cli.triton:triton", "Write a model as a repository for Triton."),
    "verify": ("sam_edge.exporters.cli.verify:verify", "Compare an exported model's engines with the model."),
    "build": ("sam_edge.runtimes.tensorrt.cli:build", "Build a model's TensorRT plans on this device."),
    "distill": ("sam_edge.training.cli:distill", "Teach a small encoder a large model's embedding."),
    "doctor": ("sam_edge.cli.doctor:doctor", "Show devices, versions, and which runtimes can be used."),
    "cache": ("sam_edge.cli.cache:cache", "Show or clear what is kept of compiled models."),
    "eval": ("sam_edge.benchmarks.quality.evaluations:evaluate", "Measure how good a model's masks are."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="sam-edge")
def cli() -> None:
    """Segment Anything on edge devices: look at something, get its mask.

    \b
    Examples:
      sam-edge demo
      sam-edge segment photo.jpg --point 320,240 --out mask.png
      sam-edge run clip.mp4 masks.mp4 masks.jsonl --gaze gaze.csv
      sam-edge export mobile_sam.pt --family mobile_sam --out mobile_sam/
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 not accurate, 2 bad input, 130 interrupted."""
    # OpenCV and FFmpeg write their own lines about every damaged file; ours says what matters.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
    try:
        result = cli.main(args=arguments, prog_name="sam-edge", standalone_mode=False)
    except SamEdgeError as error:
        click.echo(f"error: {error}", err=True)
        return 1 if isinstance(error, FidelityError) else 2
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        message = " ".join(error.format_message().split())
        click.echo(f"error: {message}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        return 2
    return result if isinstance(result, int) else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that temporary files are removed."""
    raise KeyboardInterrupt
