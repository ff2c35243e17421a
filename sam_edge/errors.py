"""What can go wrong, as one tree.

    SamEdgeError            every error this package raises on purpose
    ├── InputError          an image, point, gaze file or option that cannot be used
    ├── CheckpointError     PyTorch weights that do not fit the family, or are not weights
    ├── BundleError         a model folder that is damaged, edited or foreign
    │   └── PlanError       a TensorRT plan that is missing, damaged or made for something else
    ├── OutputError         a file or folder that cannot be written
    ├── MissingExtraError   a library that an extra of this package would have installed
    ├── EngineError         a library, driver, device or device memory that an engine needs and lacks
    └── FidelityError       an engine that does not compute what the model computes

The text of an error is one line, "what: hint". The command line prints it and exits with 2; for a FidelityError
with 1.
"""

from __future__ import annotations

import os


class SamEdgeError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: what is wrong, naming the thing.
        path: the file or folder it is about.
        hint: what the user can do about it, such as "export the model again".
    """

    def __init__(
        self, what: str, *, path: str | os.PathLike[str] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(f"{what}: {hint}" if hint else what)
        self.what = what
        self.path = None if path is None else os.fspath(path)
        self.hint = hint


class InputError(SamEdgeError, ValueError):
    """An image, point, gaze file or option that cannot be used."""


class CheckpointError(SamEdgeError):
    """PyTorch weights that do not fit the family, or are not weights at all."""


class BundleError(SamEdgeError):
    """A model folder that is damaged, edited or made for something else."""


class PlanError(BundleError):
    """A TensorRT plan that is missing, damaged or made for something else; building it again helps."""

    def __init__(
        self, what: str, *, path: str | os.PathLike[str] | None = None, hint: str | None = "run sam-edge build"
    ) -> None:
        super().__init__(what, path=path, hint=hint)


class OutputError(SamEdgeError):
    """A file or folder that cannot be written."""


class MissingExtraError(SamEdgeError, ImportError):
    """A library is missing; the hint names the extra that brings it.

    Args:
        library: the Python package that cannot be imported.
        extra: the extra of this package that installs it.
        hint: given where the library comes with the system, and not from an extra.
    """

    def __init__(self, library: str, extra: str, hint: str | None = None) -> None:
        super().__init__(f"{library} is not installed", hint=hint or f"pip install 'sam-edge[{extra}]'")
        self.library = library
        self.extra = extra


class EngineError(SamEdgeError):
    """A library, driver, device or device memory that an engine needs is broken, missing or too small."""


class FidelityError(SamEdgeError):
    """An engine differs from its model by more than the gate allows."""
