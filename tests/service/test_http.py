"""The routes, by a real client on loopback."""

from __future__ import annotations

import base64
import json

import aiohttp
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pycocotools import mask as coco

from sam_edge.segmenter import Segmenter
from sam_edge.service.live.wire import parse_binary
from tests.service.running import WH, Running, jpeg, run, serving, until

PROMPT = {"id": "a", "points": [[60, 50, 1]]}


def test_health_follows_the_frames(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, stale_frames_s=0.3) as service:
            for path in ("/healthz", "/readyz"):
                async with service.http.get(path) as answer:
                    assert answer.status == 503
            await service.ready()
            async with service.http.get("/readyz") as answer:
                assert answer.status == 200
            service.show(91)
            async with service.http.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "ok")
            # No more frames come.
            while (await service.http.get("/healthz")).status == 200:
                pass
            async with service.http.get("/healthz") as answer:
                assert not (await answer.json())["frames"]["ok"]

    run(test)


def test_a_tracker_that_is_silent_is_not_well(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, takes_gaze=False) as service:
            service.context.tracker_ns = lambda: None
            await service.ready()
            async with service.http.get("/healthz") as answer:
                assert answer.status == 503
                assert not (await answer.json())["gaze"]["ok"]

    run(test)


@pytest.mark.parametrize("as_form", [True, False])
def test_an_image_and_prompts_become_masks(segmenter: Segmenter, as_form: bool) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            asked = {"prompts": [PROMPT, {"box": [10, 10, 50, 40]}]}
            if as_form:
                form = aiohttp.FormData()
                form.add_field("image", jpeg(), content_type="image/jpeg", filename="photo.jpg")
                form.add_field("request", json.dumps(asked), content_type="application/json")
                request = service.http.post("/v1/segment", data=form)
            else:
                image = base64.b64encode(jpeg()).decode()
                request = service.http.post("/v1/segment", json={**asked, "image": image})
            async with request as answer:
                found = await answer.json()
            assert answer.status == 200, found
            assert [one["id"] for one in found["answers"]] == ["a", None]
            masks = found["answers"][0]["masks"]
            assert len(masks) == 3
            for mask in masks:
                plane = coco.decode(mask["rle"])
                assert plane.shape == (WH[1], WH[0])
                assert plane[50, 60]
                assert plane.sum() == mask["area"]

    run(test)


def test_embeddings_are_kept_asked_and_forgotten(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, max_embeddings=2) as service:
            await service.ready()
            http = service.http
            async with http.post("/v1/embeddings", json={"source": "live"}) as answer:
                assert answer.status == 201
                frozen = (await answer.json())["id"]
            async with http.post(
                "/v1/embeddings", data=jpeg(), headers={"Content-Type": "image/jpeg"}
            ) as answer:
                assert answer.status == 201
                kept = (await answer.json())["id"]
            async with http.post(f"/v1/embeddings/{kept}/masks", json={"prompts": [PROMPT]}) as answer:
                assert len((await answer.json())["answers"][0]["masks"]) == 3
            async with http.get(f"/v1/embeddings/{frozen}/frame.jpg") as answer:
                assert answer.content_type == "image/jpeg"
            async with http.get(f"/v1/embeddings/{kept}/frame.jpg") as answer:
                assert answer.status == 404
            async with http.get(f"/v1/embeddings/{frozen}", params={"dtype": "float32"}) as answer:
                header, payload = parse_binary(await answer.read())
            about = header["tensors"]["embedding"]
            tensor = np.frombuffer(payload, np.float32, int(np.prod(about["shape"])), about["offset"])
            wanted = service.stream.scene.embedding
            assert wanted is not None
            np.testing.assert_array_equal(tensor, np.asarray(wanted.tensors["embedding"]).ravel())
            async with http.delete(f"/v1/embeddings/{kept}") as answer:
                assert answer.status == 204
            for _ in range(2):
                await http.post("/v1/embeddings", json={"source": "live"})
            for gone in (kept, frozen):
                async with http.post(f"/v1/embeddings/{gone}/masks", json={"prompts": [PROMPT]}) as answer:
                    assert answer.status == 404

    run(test)


def test_frames_now_and_one_after_the_other(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            async with service.http.get("/v1/frame.jpg") as answer:
                assert (await answer.read()).startswith(b"\xff\xd8")
            async with service.http.get("/v1/preview.mjpeg") as answer:
                assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
                await until(lambda: service.context.previews == 1)
                for shade in (100, 120, 140):
                    service.show(shade)
                assert await answer.content.readuntil(b"\r\n") == b"--frame\r\n"
            await until(lambda: service.context.previews == 0)

    run(test)


def test_prometheus_can_read_the_metrics(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            seen = await metrics(service)
            assert seen["sam_edge_frames_total"] == 1
            service.stream.push_gaze(70, 60)
            await until(lambda: service.stream.report().decodes > 0)
            seen = await metrics(service)
            assert seen["sam_edge_gaze_to_mask_seconds_count"] >= 1
            assert seen["sam_edge_results_total"] >= 1
            assert seen["process_resident_memory_bytes"] > 1e6
            assert {f"sam_edge_{age}_age_seconds_count" for age in ("gaze", "frame", "embedding")} <= set(seen)

    run(test)


async def metrics(service: Running) -> dict[str, float]:
    async with service.http.get("/metrics") as answer:
        text = await answer.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_the_document_names_every_route_of_the_api(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            async with service.http.get("/v1/openapi.json") as answer:
                paths = (await answer.json())["paths"]
            assert "/v1/segment" in paths
            for path, operations in paths.items():
                for method in set(operations) - {"parameters"}:
                    url = path.replace("{id}", "x")
                    async with service.http.request(method, url) as answer:
                        assert str(answer.status) in operations[method]["responses"], (method, url)

    run(test)


def test_info_says_what_a_client_needs(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            async with service.http.get("/v1/info") as answer:
                found = await answer.json()
            assert found["frame_wh"] == list(WH)
            assert found["model"]["decoder"]["inputs"]["point_coords"] == ["prompts", 6, 2]
            assert "token_file" not in json.dumps(found)
            async with service.http.get("/v1/decoder.onnx") as answer:
                assert await answer.read() == b"a graph"

    run(test)
