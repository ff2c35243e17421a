"""The port that every engine keeps.

A session is a graph, loaded and ready to compute: onnxruntime calls it InferenceSession, OpenVINO
CompiledModel, Polygraphy a runner. It has named inputs and outputs and computes one from the other. What a
mask means is decided on this side of the port.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    # The doctor comes this way, also where numpy is what is broken.
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.geometry import View
    from sam_edge.imaging.image import Layout
    from sam_edge.imaging.preprocess import Preprocess
    from sam_edge.tensors import Arrays, TensorSpec

Priority = Literal["normal", "urgent"]
"""`urgent` work overtakes `normal` work on the same device, where the device can do that."""


@dataclass(frozen=True)
class SessionOptions:
    """What a session is told when it is opened. It guesses nothing from names."""

    threads: int | None = None
    """Processor cores it may use; None: all that this process may use."""
    device: str | None = None
    """One of its backend's devices, such as `cuda` or `GPU.1`; None: the backend's own choice."""
    host_outputs: frozenset[str] | None = None
    """Outputs that must be numpy arrays. The others may stay on the device. None: all must be numpy arrays."""
    priority: Priority = "normal"


class Session(Protocol):
    """A graph, loaded and ready to compute. Any number of threads may call `run` at once."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        ...

    def run(self, feeds: Arrays) -> Arrays:
        """Compute every output from all inputs.

        Args:
            feeds: one array for each input, by name: C-contiguous or not, numpy or on the session's own device.

        Returns:
            One array for each output, by name. They stay valid after later runs and after `close`. Those that
            may stay on the device (`SessionOptions.host_outputs`) have `__array__` and `__dlpack__`, and
            sessions of the same backend take them without a copy.

        Raises:
            InputError: the session is closed; an input is missing or unknown; a shape or element type is not
                the graph's.
            EngineError: the session was opened in another process; the device fails, or has too little memory.
        """
        ...

    def close(self) -> None:
        """Give memory and device back. The session cannot run afterwards; closing it again does nothing."""
        ...


class FrameSession(Session, Protocol):
    """A session of an encoder that prepares camera frames itself, on its device or as a part of its graph."""

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """What `run` gives for `{"image": encoder_input(to_rgb(image, layout), view, preprocess)}`.

        Equal up to rounding: of float32, and of resized pixels by one level of 255 at most.

        Args:
            image: uint8, of the layout's shape and of the view's frame size.
            view: which part of the frame the encoder sees.
            preprocess: how the model normalises.
            layout: see `Layout`.
        """
        ...


class SessionLoader(Protocol):
    """Opens a graph file as a session."""

    def __call__(self, graph: Path, options: SessionOptions = ...) -> Session:
        """Open an ONNX file.

        Raises:
            BundleError: the file is missing, damaged, or has an operation that the backend lacks.
            PlanError: the backend runs plans built on this device, and has none of this graph.
            EngineError: the device, its driver or its memory.
        """
        ...


class Wrapper:
    """A session around a session. A subclass overrides only what it does differently, such as `run` to time it.

    `run_frame` is there exactly if the inner session has it, so that wrapping never changes how frames are
    prepared.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.session.outputs

    def run(self, feeds: Arrays) -> Arrays:
        return self.session.run(feeds)

    def close(self) -> None:
        self.session.close()

    def __getattr__(self, name: str) -> object:
        if name == "run_frame":
            return self.session.run_frame  # type: ignore[attr-defined]  # or AttributeError
        raise AttributeError(name)


_wrapper: type[Session] = Wrapper
