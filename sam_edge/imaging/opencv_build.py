"""Which OpenCV this program uses, and what it was built with.

Four distributions on PyPI install the same folder `cv2`, each over the files of the one before; a system may
bring another copy, such as the one with GStreamer on a Jetson.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTIONS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)


@dataclass(frozen=True)
class OpenCvBuild:
    """The OpenCV in force."""

    version: str
    where: str
    """The folder, or the file, that it was imported from."""
    distributions: tuple[str, ...]
    """Installed ones that bring a `cv2`, such as "opencv-python 4.12.0.88"; empty for the system's own."""
    hidden: tuple[str, ...]
    """Other copies on Python's path, which this one hides."""
    gui: str | None
    """What shows windows, such as "QT5" or "GTK3"; None: cv2.imshow does not work."""
    gstreamer: bool
    ffmpeg: bool
    problem: str | None
    """What is wrong with the installation and what to do, in one line; None if nothing is."""


def read_build(
    information: str,
    *,
    version: str,
    where: Path,
    distributions: Iterable[str] = (),
    copies: Iterable[Path] = (),
) -> OpenCvBuild:
    """What cv2.getBuildInformation() says, with where this OpenCV comes from.

    Args:
        information: the text of cv2.getBuildInformation().
        version: cv2.__version__.
        where: the `cv2` in force.
        distributions: installed ones, "NAME VERSION".
        copies: every `cv2` on Python's path.
    """
    gui = _entry(information, "GUI") or "NONE"
    installed = tuple(distributions)
    hidden = tuple(dict.fromkeys(str(copy) for copy in copies if copy.resolve() != where.resolve()))
    return OpenCvBuild(
        version=version,
        where=str(where),
        distributions=installed,
        hidden=hidden,
        gui=None if gui in ("NONE", "NO") else gui,
        gstreamer=_is_on(information, "GStreamer"),
        ffmpeg=_is_on(information, "FFMPEG"),
        problem=_problem([text.partition(" ")[0] for text in installed], hidden),
    )


def find_build(path: Sequence[str] | None = None) -> OpenCvBuild:
    """The OpenCV of this process; `path` is where Python looks for modules.

    Raises:
        ImportError: there is none, or its libraries are missing.
    """
    import cv2

    file = Path(cv2.__file__)
    # Debian installs one file, cv2.cpython-310-x86_64-linux-gnu.so.
    where = file.parent if file.stem == "__init__" else file
    places = [Path(place or ".") for place in (sys.path if path is None else path)]
    copies = [copy for place in places for copy in (place / "cv2", *place.glob("cv2.*.so")) if copy.exists()]
    return read_build(
        cv2.getBuildInformation(),
        version=cv2.__version__,
        where=where,
        distributions=[f"{name} {found}" for name in DISTRIBUTIONS if (found := _installed(name))],
        copies=copies,
    )


def _problem(names: Sequence[str], hidden: Sequence[str]) -> str | None:
    if len(names) > 1:
        both = " and ".join(names)
        return f"{both} overwrite each other's files: pip uninstall them all, then install one of them"
    if hidden:
        own = f"pip uninstall {names[0]}" if names else "change PYTHONPATH"
        return f"this OpenCV hides the one in {', '.join(hidden)}: to use that one, {own}"
    return None


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _entry(information: str, name: str) -> str | None:
    """What stands behind "name:" in a line; None if there is no such line."""
    found = re.search(
        rf"^[ \t]*{re.escape(name)}:[ \t]*(.*?)[ \t]*$", information, re.MULTILINE | re.IGNORECASE
    )
    return found[1] if found else None


def _is_on(information: str, name: str) -> bool:
    return (_entry(information, name) or "NO").upper().startswith("YES")
