"""The routes as an OpenAPI document."""

from __future__ import annotations

from typing import Any

from sam_edge.service.asking.prompts import MAX_ID, MAX_POINTS, MAX_WHOLE
from sam_edge.service.config import ServiceConfig

Json = dict[str, Any]
JSON = "application/json"
BYTES: Json = {"type": "string", "format": "binary"}


def openapi(config: ServiceConfig) -> Json:
    """OpenAPI 3.1 of what docs/service.md describes."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "sam-edge", "version": "1"},
        "security": [{}, {"bearer": []}, {"basic": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": _schemas(config),
        },
    }


def _paths() -> Json:
    name: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    dtype = {"name": "dtype", "in": "query", "schema": {"enum": ["float16", "float32"]}}
    prompts, live = {JSON: {"schema": _ref("Prompts")}}, {JSON: {"schema": _ref("Encode")}}
    form = {
        "type": "object",
        "required": ["image", "request"],
        "properties": {"image": BYTES, "request": _ref("Prompts")},
    }
    encoding = {"request": {"contentType": JSON}}
    segment = {
        JSON: {"schema": _ref("ImageAndPrompts")},
        "multipart/form-data": {"schema": form, "encoding": encoding},
    }
    octets = "application/octet-stream"
    return {
        "/healthz": {"get": _said("How fresh everything is", _json("Health"), 503)},
        "/readyz": {"get": _said("Whether the first frame is encoded", {JSON: {}}, 503)},
        "/metrics": {"get": _said("Metrics for Prometheus", {"text/plain": {}})},
        "/v1/info": {"get": _said("Model, frames and limits", {JSON: {"schema": {"type": "object"}}})},
        "/v1/decoder.onnx": {"get": _said("The decoder's graph", {octets: {}}, 404)},
        "/v1/frame.jpg": {"get": _said("The newest frame", {"image/jpeg": {}}, 422, 503)},
        "/v1/segment": {
            "post": _said("Masks on an image", _json("Answers"), 400, 408, 413, 415, 422, 429, 503)
            | {"requestBody": {"required": True, "content": segment}}
        },
        "/v1/embeddings": {
            "post": _said("Encode and keep", _json("Kept"), 400, 408, 413, 415, 422, 429, 503, status=201)
            | {"requestBody": {"required": True, "content": live | {"image/*": {"schema": BYTES}}}}
        },
        "/v1/embeddings/{id}": {
            "parameters": [name],
            "get": _said("Its tensors", {octets: {}}, 404, 422, 503) | {"parameters": [dtype]},
            "delete": _said("Forget it", None, 404, status=204),
        },
        "/v1/embeddings/{id}/masks": {
            "parameters": [name],
            "post": _said("Masks on it", _json("Answers"), 400, 404, 408, 413, 415, 422, 429, 503)
            | {"requestBody": {"required": True, "content": prompts}},
        },
        "/v1/embeddings/{id}/frame.jpg": {
            "parameters": [name],
            "get": _said("Its picture, of a frame that was frozen", {"image/jpeg": {}}, 404),
        },
    }


def _schemas(config: ServiceConfig) -> Json:
    number: Json = {"type": "number"}
    prompt: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "id": {
                "oneOf": [
                    {"type": "string", "maxLength": MAX_ID},
                    {"type": "integer", "exclusiveMinimum": -MAX_WHOLE, "exclusiveMaximum": MAX_WHOLE},
                    {"type": "null"},
                ]
            },
            "points": {"type": "array", "maxItems": MAX_POINTS, "items": _numbers(3)},
            "box": {"oneOf": [_numbers(4), {"type": "null"}]},
        },
    }
    asked: Json = {
        "prompts": {"type": "array", "minItems": 1, "maxItems": config.max_prompts, "items": _ref("Prompt")},
        "multimask": {"type": ["boolean", "null"]},
    }
    image = {"type": "string", "contentEncoding": "base64"}
    part: Json = {"type": ["object", "null"]}
    mask = _object(
        rle=_object(size=_numbers(2), counts={"type": "string"}),
        bbox=_numbers(4),
        area=number,
        predicted_iou=number,
        stability_score=number,
    )
    answer = _object(id={}, masks={"type": "array", "items": mask})
    return {
        "Prompt": prompt,
        "Prompts": _object(required=["prompts"], **asked) | {"additionalProperties": False},
        "ImageAndPrompts": _object(required=["prompts", "image"], image=image, **asked)
        | {"additionalProperties": False},
        "Encode": {
            "oneOf": [
                _object(image=image) | {"additionalProperties": False},
                _object(source={"const": "live"}) | {"additionalProperties": False},
            ]
        },
        "Answers": _object(
            v={"const": 1},
            model={"type": "string"},
            frame_wh=_numbers(2),
            decode_ms=number,
            answers={"type": "array", "items": answer},
        ),
        "Kept": _object(
            v={"const": 1},
            id={"type": "string"},
            model={"type": "string"},
            frame_wh=_numbers(2),
            expires_s=number,
        ),
        "Health": _object(
            status={"enum": ["ok", "stale"]},
            frames=part,
            embeddings=part,
            gaze=part,
        ),
        "Error": _object(
            error=_object(code={"type": "string"}, what={"type": "string"}, hint={"type": ["string", "null"]})
        ),
    }


def _said(what: str, content: Json | None, *failures: int, status: int = 200) -> Json:
    """An operation and what it answers."""
    done: Json = {"description": what}
    if content is not None:
        done["content"] = content
    answers = {str(status): done}
    for failure in sorted({401, 403, 421, *failures}):
        answers[str(failure)] = {"description": "refused", "content": _json("Error")}
    if 503 in failures and content == _json("Health"):
        answers["503"] = {"description": "something is stale", "content": content}
    return {"summary": what, "responses": answers}


def _object(*, required: list[str] | None = None, **properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "properties": properties,
    }


def _numbers(count: int) -> Json:
    return {"type": "array", "minItems": count, "maxItems": count, "items": {"type": "number"}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Json:
    return {JSON: {"schema": _ref(name)}}
