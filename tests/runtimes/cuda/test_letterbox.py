"""The kernel computes what `encoder_input` computes: compiled for the processor, and run on a simulated GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize, View
from sam_edge.imaging.image import encoder_input, read_image
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.letterbox import LAYOUTS, Layout, Letterbox
from tests.imaging.layouts import laid_out
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

SAM = Preprocess((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "antialias")
AREA = Preprocess((127.5, 127.5, 127.5), (50.0, 60.0, 70.0), "area")
BILINEAR = Preprocess((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "bilinear")
SQUARE = InputSize(long_side=256, multiple=32, square=True)


def image(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Colours that change both slowly and from pixel to pixel, saturated ones among them."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    waves = [127 + 160 * np.sin(xs / 9 + k) * np.cos(ys / 7 - k) for k in range(3)]
    noise = rng.integers(-60, 61, (height, width, 3))
    return np.clip(np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)


def computed(
    frame: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
) -> NDArray[np.float32]:
    letterbox = Letterbox(SimulatedCuda(), preprocess, layout)
    return np.asarray(letterbox(frame, view))


def levels(got: NDArray[np.float32], expected: NDArray[np.float32], preprocess: Preprocess) -> float:
    """Largest difference in levels of 0..255."""
    std = np.array(preprocess.std, np.float32)[:, None, None]
    return float(np.abs((got - expected) * std).max())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size_wh", [(640, 360), (255, 301), (100, 40), (256, 256), (1000, 10)])
def test_sams_resize_is_the_same_to_the_last_bit(layout: Layout, size_wh: tuple[int, int]) -> None:
    width, height = (side + side % 2 for side in size_wh) if layout == "nv12" else size_wh
    frame, rgb = laid_out(image(width, height), layout)
    view = SQUARE.view((width, height))
    np.testing.assert_array_equal(computed(frame, view, SAM, layout), encoder_input(rgb, view, SAM))


@settings(max_examples=25)
@given(st.data(), st.sampled_from(LAYOUTS))
def test_any_window_of_any_frame(data: st.DataObject, layout: Layout) -> None:
    width, height = (2 * data.draw(st.integers(1, 150)) for _ in range(2))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    size = InputSize(long_side=96, multiple=32, square=data.draw(st.booleans()))
    view = size.view((width, height), window)
    frame, rgb = laid_out(image(width, height), layout)
    np.testing.assert_array_equal(computed(frame, view, SAM, layout), encoder_input(rgb, view, SAM))


# Some are enlarged, where OpenCV's weights have 11 bits.
@pytest.mark.parametrize(
    "size_wh", [(640, 360), (301, 255), (512, 512), (257, 256), (770, 99), (31, 255), (7, 3)]
)
def test_area_differs_by_rounding_alone(size_wh: tuple[int, int]) -> None:
    view = SQUARE.view(size_wh)
    rgb = image(*size_wh)
    got, expected = computed(rgb, view, AREA), encoder_input(rgb, view, AREA)
    assert levels(got, expected, AREA) < 1.01
    # A sum that lies between two levels may fall to the other side.
    assert max(size_wh) < 256 or np.mean(np.abs(got - expected) > 1e-3) < 1e-3


def test_area_rounds_halves_to_even() -> None:
    # A quarter of the size: means of 16 pixels, here all of them just between two levels.
    view = InputSize(long_side=32, multiple=32, square=True).view((128, 128))
    levels_of = np.arange(32 * 32).reshape(32, 32) % 255
    rgb = np.repeat(np.repeat(levels_of, 4, axis=0), 4, axis=1)[..., None].repeat(3, axis=2).astype(np.uint8)
    rgb[:, ::2] += 1
    np.testing.assert_array_equal(computed(rgb, view, AREA), encoder_input(rgb, view, AREA))


@pytest.mark.parametrize("size_wh", [(640, 360), (100, 50), (31, 255), (256, 256)])
def test_bilinear_differs_by_rounding_alone(size_wh: tuple[int, int]) -> None:
    view = SQUARE.view(size_wh)
    rgb = image(*size_wh)
    got = computed(rgb, view, BILINEAR)
    assert levels(got, encoder_input(rgb, view, BILINEAR), BILINEAR) < 0.02


def test_a_squashed_and_a_shrunken_view() -> None:
    rgb = image(400, 300)
    for size in (
        InputSize(long_side=128, multiple=32, square=True, fit="squash"),
        InputSize(long_side=256, multiple=32, square=True, encoder_stride=2),
    ):
        view = size.view((400, 300))
        np.testing.assert_array_equal(computed(rgb, view, SAM), encoder_input(rgb, view, SAM))


def test_frames_follow_each_other_without_new_memory() -> None:
    cuda = SimulatedCuda()
    letterbox = Letterbox(cuda, SAM)
    view = SQUARE.view((320, 200))
    used = set()
    for seed in range(5):
        rgb = image(320, 200, seed)
        got = letterbox(rgb, view)
        assert isinstance(got, DeviceArray)
        np.testing.assert_array_equal(got, encoder_input(rgb, view, SAM))
        used.add(cuda.used)
    assert len(used) <= 2
    del got
    letterbox.close()
    assert cuda.used == 0
    assert cuda.handles == 0


def test_frames_that_are_none_are_refused() -> None:
    letterbox = Letterbox(SimulatedCuda(), SAM)
    frames: list[Any] = [image(30, 20), image(32, 20).astype(np.float32)]
    for frame in frames:
        with pytest.raises(InputError, match=r"frame|dtype"):
            letterbox(frame, SQUARE.view((32, 20)))


@pytest.mark.shared
def test_photographs(shared: Path) -> None:
    paths = sorted((shared / "fixtures").rglob("*.jpg"))[:2] or sorted(shared.rglob("*.jpg"))[:2]
    assert paths
    for path in paths:
        rgb = read_image(path)
        view = InputSize(long_side=1024, multiple=32, square=True).view((rgb.shape[1], rgb.shape[0]))
        np.testing.assert_array_equal(
            computed(np.ascontiguousarray(rgb[..., ::-1]), view, SAM, "bgr"), encoder_input(rgb, view, SAM)
        )


def test_nvidias_compiler_takes_the_kernel() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-python is not installed")
    from sam_edge.runtimes.cuda.cuda_python import compile_cubin
    from sam_edge.runtimes.cuda.letterbox_kernel import FUNCTION, KERNEL

    for capability in ((8, 7), (9, 0), (11, 0)):
        assert FUNCTION.encode() in compile_cubin(KERNEL, capability)
