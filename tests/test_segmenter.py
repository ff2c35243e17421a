"""Encoder and decoder together, on a model whose answers are known."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.folder import Bundle
from sam_edge.errors import EngineError, InputError
from sam_edge.geometry import View
from sam_edge.loading import load
from sam_edge.predictor import SamPredictor
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.session import Session, SessionOptions
from sam_edge.tensors import Array, Arrays
from tests.disc_model import (
    GRAPHS,
    RADIUS_PX,
    DiscSession,
    disc_bundle,
    disc_manifest,
    disc_segmenter,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
SCALE = 640 / 256


MASK_HW = (40, 64)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


@pytest.fixture(scope="module")
def disc_folder(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return disc_bundle(tmp_path_factory.mktemp("disc"))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[0:360, 0:640] + 0.5
    inside: np.ndarray = np.hypot(xs - x, ys - y) < radius
    return inside


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("point", [(320, 180), (100, 300), (500.5, 77.25)])
def test_mask_lies_where_the_point_is(segmenter: Segmenter, point: tuple[float, float]) -> None:
    masks = segmenter.decode(segmenter.encode(IMAGE), Prompt.points([point]))
    assert masks.binary.shape == (3, 360, 640)
    assert overlap(masks.binary[0], disc(*point, RADIUS_PX * SCALE)) > 0.97


def test_one_point_gets_three_masks_and_more_gets_one(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    one, two = Prompt.points([(50, 60)]), Prompt.points([(50, 60), (70, 60)])
    box = Prompt.box((10, 10, 60, 60))
    assert [len(segmenter.decode(embedding, prompt)) for prompt in (one, two, box)] == [3, 1, 3]
    assert len(segmenter.decode(embedding, one, multimask=False)) == 1
    assert segmenter.decode(embedding, two).predicted_iou[0] == np.float32(0.5)
    assert len(segmenter.decode(embedding, two, multimask=True)) == 3


def test_embedding_is_a_value_with_its_time(segmenter: Segmenter) -> None:
    first = segmenter.encode(IMAGE, capture_ns=5)
    kept = np.array(first.tensors["embedding"])
    segmenter.encode(255 - IMAGE, capture_ns=6)
    assert first.capture_ns == 5
    np.testing.assert_array_equal(first.tensors["embedding"], kept)


def test_batch_is_each_prompt_alone(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    prompts = [Prompt.points([(x, 100)]) for x in (50, 300, 600)]
    for prompt, masks in zip(prompts, segmenter.decode_batch(embedding, prompts), strict=True):
        np.testing.assert_array_equal(masks.logits, segmenter.decode(embedding, prompt).logits)


def test_a_model_without_mask_prompts_refuses_them(disc_folder: Bundle, segmenter: Segmenter) -> None:
    assert segmenter.takes_masks
    decoder = GRAPHS["decoder"]
    plain = replace(decoder, inputs=tuple(spec for spec in decoder.inputs if "mask" not in spec.name))
    manifest = replace(disc_folder.manifest, graphs={**GRAPHS, "decoder": plain})
    prompt = Prompt.points([(50, 60)], mask_logits=np.zeros((36, 64)))
    with Segmenter(Bundle(disc_folder.path, manifest), DiscSession) as pointed:
        assert not pointed.takes_masks
        with pytest.raises(InputError, match="disc takes no mask prompt: give points or a box"):
            pointed.decode(pointed.encode(IMAGE), prompt)


def test_mask_prompt_reaches_the_decoder(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    plain = segmenter.decode(embedding, Prompt.points([(320, 180)]))
    push = np.full(plain.logits.shape[1:], 3.0, np.float32)
    moved = segmenter.decode(embedding, Prompt.points([(320, 180)], mask_logits=push))
    np.testing.assert_allclose(moved.logits, plain.logits + 3)


def test_mask_prompt_of_another_shape(segmenter: Segmenter) -> None:
    prompt = Prompt.points([(320, 180)], mask_logits=np.zeros((8, 8)))
    with pytest.raises(InputError, match=r"shape \(8, 8\), this frame's are \(40, 64\)"):
        segmenter.decode(segmenter.encode(IMAGE), prompt)


def test_embedding_of_another_model(segmenter: Segmenter) -> None:
    foreign = replace(segmenter.encode(IMAGE), model_id="other")
    with pytest.raises(InputError, match="other"):
        segmenter.decode(foreign, Prompt.points([(1, 1)]))


def test_point_outside(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match="outside the image"):
        segmenter.decode(segmenter.encode(IMAGE), Prompt.points([(641, 10)]))


def test_view_of_another_frame(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match="the view is for frames of"):
        segmenter.encode(IMAGE, segmenter.view((320, 240)))


def test_window_is_a_view(segmenter: Segmenter) -> None:
    view = segmenter.view((640, 360), (300, 100, 200, 200))
    masks = segmenter.decode(segmenter.encode(IMAGE, view), Prompt.points([(400, 200)]))
    assert overlap(masks.binary[0], disc(400, 200, RADIUS_PX * 200 / 256)) > 0.97


def test_an_engine_that_does_not_open_leaves_none_open(tmp_path: Path) -> None:
    closed: list[str] = []

    class Noting(DiscSession):
        def close(self) -> None:
            closed.append(self._graph)

    def loader(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        if graph.stem == "decoder":
            raise EngineError("out of device memory")
        return Noting(graph, options)

    with pytest.raises(EngineError, match="out of device memory"):
        Segmenter(disc_bundle(tmp_path), loader)
    assert closed == ["encoder"]


def test_a_closed_segmenter_neither_encodes_nor_decodes(segmenter: Segmenter) -> None:
    with segmenter:
        embedding = segmenter.encode(IMAGE)
    with pytest.raises(InputError, match="the segmenter is closed"):
        segmenter.encode(IMAGE)
    with pytest.raises(InputError, match="the segmenter is closed"):
        segmenter.decode(embedding, Prompt.points([(4, 4)]))
    segmenter.close()


def test_a_segmenter_and_an_embedding_say_what_they_are(segmenter: Segmenter) -> None:
    assert "disc" in repr(segmenter)
    assert f"{IMAGE.shape[1]}x{IMAGE.shape[0]}" in repr(segmenter.encode(IMAGE))
    with pytest.raises(InputError, match="cannot be pickled"):
        pickle.dumps(segmenter)


def test_two_exports_of_one_checkpoint_are_two_models() -> None:
    manifest = disc_manifest()
    other = replace(manifest, input_size=replace(manifest.input_size, long_side=128))
    assert other.checkpoint_sha256 == manifest.checkpoint_sha256
    assert other.model_id != manifest.model_id


def test_view_that_the_encoder_cannot_take(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match="take multiples of 32"):
        segmenter.encode(IMAGE, View((640, 360), (0, 0, 640, 360), (100, 56), (100, 60)))
    with pytest.raises(InputError, match="shows nothing"):
        segmenter.view((0, 10))


def test_threads_share_a_segmenter(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    prompts = [Prompt.points([(10 * k, 100)]) for k in range(1, 40)]
    alone = [segmenter.decode(embedding, prompt).logits for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda prompt: segmenter.decode(embedding, prompt).logits, prompts)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_embedding_survives_pickling(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    copy = pickle.loads(pickle.dumps(embedding))
    prompt = Prompt.points([(320, 180)])
    np.testing.assert_array_equal(
        segmenter.decode(copy, prompt).logits, segmenter.decode(embedding, prompt).logits
    )


@pytest.mark.parametrize("threads", [0, -3, 10**12])
def test_impossible_threads(tmp_path: Path, threads: int) -> None:
    with pytest.raises(InputError, match="threads is"):
        load(tmp_path, threads=threads)


def test_predictor_answers_as_segment_anything(segmenter: Segmenter) -> None:
    predictor = SamPredictor(segmenter)
    predictor.set_image(IMAGE)
    coords, labels = np.array([[320, 180]]), np.array([1])
    masks, scores, low = predictor.predict(coords, labels)
    assert masks.shape == (3, 360, 640)
    assert masks.dtype == bool
    assert scores.shape == (3,)
    assert low.shape == (3, 40, 64)
    best = low[np.argmax(scores)][None]
    logits, _, _ = predictor.predict(
        coords, labels, box=np.array([1, 2, 300, 200]), mask_input=best,
        multimask_output=False, return_logits=True,
    )  # fmt: skip
    assert logits.shape == (1, 360, 640)
    assert logits.dtype == np.float32
    assert predictor.get_image_embedding().shape == (1, 1, 10, 16)


def test_predictor_reads_bgr(segmenter: Segmenter) -> None:
    one, other = SamPredictor(segmenter), SamPredictor(segmenter)
    one.set_image(IMAGE)
    other.set_image(np.ascontiguousarray(IMAGE[..., ::-1]), image_format="BGR")
    np.testing.assert_array_equal(one.get_image_embedding(), other.get_image_embedding())


def test_predictor_without_image(segmenter: Segmenter) -> None:
    predictor = SamPredictor(segmenter)
    with pytest.raises(InputError, match="call set_image first"):
        predictor.predict(np.array([[1, 2]]), np.array([1]))
    assert not predictor.is_image_set
    predictor.set_image(IMAGE)
    assert predictor.is_image_set
    assert (predictor.original_size, predictor.input_size) == ((360, 640), (144, 256))
    predictor.reset_image()
    with pytest.raises(InputError, match="call set_image first"):
        predictor.get_image_embedding()


def test_predictor_wants_labels_with_points(segmenter: Segmenter) -> None:
    predictor = SamPredictor(segmenter)
    predictor.set_image(IMAGE)
    with pytest.raises(InputError, match="point_labels must be given"):
        predictor.predict(np.array([[1, 2]]))


class Counting(DiscSession):
    """Notes how many prompts each run of the decoder answers."""

    runs: ClassVar[list[int]] = []

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        if "point_labels" in feeds:
            self.runs.append(feeds["point_labels"].shape[0])
        return super().compute(feeds)


@given(
    st.lists(
        st.tuples(st.integers(1, 255), st.integers(1, 159), st.booleans(), st.booleans()),
        min_size=0,
        max_size=40,
    )
)
def test_a_batch_is_its_prompts_one_by_one_in_few_runs(
    disc_folder: Bundle, asked: list[tuple[int, int, bool, bool]]
) -> None:
    with Segmenter(disc_folder, Counting) as segmenter:
        embedding = segmenter.encode(IMAGE)
        mask = np.ones(MASK_HW, np.float32)
        prompts = [
            Prompt.box((x / 2, y / 2, x, y))
            if is_box
            else Prompt.points([(x, y)], mask_logits=mask if has_mask else None)
            for x, y, is_box, has_mask in asked
        ]
        Counting.runs.clear()
        batch = segmenter.decode_batch(embedding, prompts)
        assert sum(Counting.runs) == len(prompts)
        assert len(Counting.runs) <= len(prompts) // 8 + 3
        for masks, prompt in zip(batch, prompts, strict=True):
            alone = segmenter.decode(embedding, prompt)
            np.testing.assert_allclose(masks.logits, alone.logits, atol=1e-5)
            np.testing.assert_array_equal(masks.predicted_iou, alone.predicted_iou)


def test_a_bad_prompt_of_a_batch_is_named(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(IMAGE)
    with pytest.raises(InputError, match="9999"):
        segmenter.decode_batch(embedding, [Prompt.points([(4, 4)]), Prompt.points([(9999, 4)])])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_after_a_warm_up_nothing_is_opened_or_compiled(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(runtime)
    with load("nano", runtime=runtime, threads=1, frame_wh=(160, 96)) as segmenter:
        segmenter.warm_up((160, 96), batches=[4])

        def refuse(*arguments: object) -> None:
            raise AssertionError("opened or compiled after the warm-up")

        monkeypatch.setattr(Bundle, "graph", refuse)
        if runtime == "openvino":
            from sam_edge.runtimes.openvino.model import Compiler

            monkeypatch.setattr(Compiler, "compile", refuse)
        embedding = segmenter.encode(np.zeros((96, 160, 3), np.uint8))
        points = [(8.0 * (index + 1), 20.0) for index in range(segmenter.max_points)]
        for prompt in (Prompt.points(points[:1]), Prompt.box((4, 4, 90, 60)), Prompt.points(points)):
            masks = segmenter.decode(embedding, prompt)
            segmenter.decode(embedding, replace(prompt, mask_logits=masks.logits[0]))
        segmenter.decode_batch(embedding, [Prompt.points(points[:1])] * 4)


def test_a_frame_that_cannot_be_warmed_for_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(InputError):
        segmenter.warm_up((0, 480))


def test_a_model_can_be_opened_without_computing() -> None:
    with load("nano", runtime="null", frame_wh=(320, 180)) as segmenter:
        masks = segmenter.decode(segmenter.encode(np.zeros((180, 320, 3), np.uint8)), Prompt.points([(3, 4)]))
        assert masks.logits.shape == (3, 72, 128)
        assert not masks.binary.any()


def test_predictor_and_decode_refuse_background_points_alone(segmenter: Segmenter) -> None:
    predictor = SamPredictor(segmenter)
    predictor.set_image(IMAGE)
    with pytest.raises(InputError, match="where the object is not"):
        predictor.predict(np.array([[1, 2]]), np.array([0]))
    low = predictor.predict(np.array([[1, 2]]), np.array([1]), multimask_output=False)[2]
    predictor.predict(np.array([[1, 2]]), np.array([0]), mask_input=low)


def test_a_box_that_reaches_outside_is_answered_as_the_cut_one(segmenter: Segmenter) -> None:
    predictor = SamPredictor(segmenter)
    predictor.set_image(IMAGE)
    outside, cut = (
        predictor.predict(box=np.array(box))[0] for box in ((300, 200, 900, 875), (300, 200, 640, 360))
    )
    np.testing.assert_array_equal(outside, cut)
