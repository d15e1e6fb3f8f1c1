"""The description of the HTTP surface that node and gateway share, as an OpenAPI 3.1 document.

Each adds the paths that it alone has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.call import EMBEDDINGS, ENDPOINTS, PREFIXES, Endpoint
from relay.embedding_input import FORMATS, HIGHEST_TOKEN, MOST_INPUTS

_ERRORS = (400, 401, 403, 404, 413, 415, 429, 502, 503, 504)


def document(
    title: str, version: str, own_paths: Mapping[str, Any], bases: tuple[str, ...] = PREFIXES
) -> dict[str, Any]:
    """The whole document; `bases` are the prefixes under which the OpenAI paths stand."""
    paths: dict[str, Any] = {}
    for base in bases:
        parameters = [_path_parameter("vm")] if "{vm}" in base else []
        paths[f"{base}/models"] = _with(parameters, get=get("The models that can be called here."))
        paths[f"{base}/models/{{model}}"] = _with(
            [*parameters, _path_parameter("model")], get=get("One model.", errors=(401, 403, 404, 503))
        )
        for endpoint in ENDPOINTS.values():
            paths[f"{base}/{endpoint.path}"] = _with(parameters, post=_post(endpoint))
    paths |= {
        "/health": {
            "get": get("200 ready, 202 able but not loaded, 503 starting or draining.", errors=(503,), extra=(202,))
        },
        "/metrics": {"get": {"summary": "Prometheus metrics.", "responses": {"200": {"description": "Text."}}}},
        "/openapi.json": {"get": get("This document.")},
        **own_paths,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def get(summary: str, errors: tuple[int, ...] = (401,), extra: tuple[int, ...] = ()) -> dict[str, Any]:
    """A GET that answers JSON."""
    good = {str(status): _json("A JSON object.", {"type": "object"}) for status in (200, *extra)}
    return {"summary": summary, "responses": good | errors_of(errors)}


def errors_of(statuses: tuple[int, ...]) -> dict[str, Any]:
    """The responses that are OpenAI's error envelope."""
    schema = {"$ref": "#/components/schemas/Error"}
    return {str(status): _json("An error.", schema) for status in statuses}


def _post(endpoint: Endpoint) -> dict[str, Any]:
    embeds = endpoint is EMBEDDINGS
    body = _EMBEDDING_SCHEMA if embeds else _STREAMED_SCHEMA
    good = _json("The vectors.", {"type": "object"}) if embeds else _STREAMED
    return {
        "summary": f"OpenAI's {endpoint.name}; llama.cpp's own options pass through.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": good} | errors_of(_ERRORS),
    }


def _with(parameters: list[dict[str, Any]], **methods: Any) -> dict[str, Any]:
    return {**methods, "parameters": parameters} if parameters else methods


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_STREAMED = {
    "description": "The answer, or its events when streamed.",
    "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
}
_STREAMED_SCHEMA = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string"}, "stream": {"type": "boolean"}},
}
_TEXT = {"type": "string", "minLength": 1}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": HIGHEST_TOKEN}, "minItems": 1}
_EMBEDDING_SCHEMA = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string"},
        "input": {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_INPUTS},
                _TOKENS,
                {"type": "array", "items": _TOKENS, "minItems": 1, "maxItems": MOST_INPUTS},
            ]
        },
        "encoding_format": {"enum": [*FORMATS, None]},
        "dimensions": {"type": ["integer", "null"], "minimum": 1},
    },
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
