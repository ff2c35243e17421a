"""What can go wrong, as one tree.

    SamEdgeError            every error this package raises on purpose
    ├── InputError          an image, point, gaze file or option that cannot be used
    ├── CheckpointError     PyTorch weights that do not fit the family, or are no weights
    ├── BundleError         a model folder that is damaged, edited or foreign
    │   └── PlanError       a TensorRT plan that is missing, damaged or made for something else
    ├── OutputError         a file or folder that cannot be written
    ├── MissingExtraError   a library that an extra of this package would have installed
    ├── EngineError         a library, driver, device or device memory that an engine needs and lacks
    └── FidelityError       an engine that does not compute what the model computes

Every message is one line that names the thing and the cure. The command line prints it and exits with 2;
a FidelityError with 1.
"""

from __future__ import annotations


class SamEdgeError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(SamEdgeError, ValueError):
    """An image, point, gaze file or option that cannot be used."""


class CheckpointError(SamEdgeError):
    """PyTorch weights that do not fit the family, or are no weights at all."""


class BundleError(SamEdgeError):
    """A model folder that is damaged, edited or made for something else."""


class PlanError(BundleError):
    """A TensorRT plan that is missing, damaged or made for something else: building it anew is the cure."""

    CURE = "; run sam-edge build"
    """How every message goes on after it has said what is wrong."""

    @property
    def without_cure(self) -> str:
        """The message for where building is what happens next."""
        return str(self).partition(self.CURE)[0]


class OutputError(SamEdgeError):
    """A file or folder that cannot be written."""


class MissingExtraError(SamEdgeError, ImportError):
    """A library is missing; the message names the extra that brings it."""

    def __init__(self, library: str, extra: str, system: str | None = None) -> None:
        """`system` is the cure where the library comes with the system, and not from an extra."""
        cure = system or f"pip install 'sam-edge[{extra}]'"
        super().__init__(f"{library} is not installed: {cure}")
        self.library = library
        self.extra = extra


class EngineError(SamEdgeError):
    """A library, driver, device or device memory that an engine needs is broken, missing or too small."""


class FidelityError(SamEdgeError):
    """An engine differs from its model by more than the gate allows."""
