"""Prompts on the live stream's newest frame."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from sam_edge.errors import InputError
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.service.asking.engine import BusyError, Engine, Worker
from sam_edge.service.asking.store import Store
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.sources.source import Frame
from tests.service.running import PATIENCE_S, WH, picture, run, until


@pytest.fixture
def engine(segmenter: Segmenter) -> Engine:
    return Engine(segmenter, Store(4, 60.0), 10**6)


@pytest.mark.parametrize("point", [(30, 30), (150, 100)])
def test_a_prompt_beside_the_window_that_was_encoded_is_answered_too(
    engine: Engine, point: tuple[int, int]
) -> None:
    scene = Scene().seen(Frame(picture(), 0, 5))
    window = engine.segmenter.view(WH, (0, 0, 64, 64))
    embedding = engine.segmenter.encode(picture(), window, capture_ns=5)
    found = engine.ask(scene.encoded(embedding, scene, 1.0), Prompt.points([point]), None, None)
    x, y, width, height = found["masks"][0]["bbox"]
    assert x <= point[0] <= x + width
    assert y <= point[1] <= y + height


def test_before_the_first_frame_nothing_can_be_asked(engine: Engine) -> None:
    with pytest.raises(InputError):
        engine.ask(Scene(), Prompt.points([(1, 1)]), None, None)
    with pytest.raises(InputError):
        engine.freeze(Scene())


def test_the_waiting_line_has_an_end_and_room_again() -> None:
    async def test() -> None:
        worker, going_on = Worker(2), Event()
        tasks = [asyncio.create_task(worker.run(lambda: going_on.wait(PATIENCE_S))) for _ in range(2)]
        await until(lambda: worker.waiting == 2)
        with pytest.raises(BusyError):
            await worker.run(lambda: None)
        # Who leaves does not give up a place that is still worked on.
        tasks[0].cancel()
        await asyncio.sleep(0)
        assert worker.waiting == 2
        going_on.set()
        await until(lambda: worker.waiting == 0)
        assert await worker.run(lambda: 3) == 3
        worker.close()

    run(test)
