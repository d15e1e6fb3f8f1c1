"""The description of the HTTP surface that node and gateway share, as an OpenAPI 3.1 document.

It follows from the endpoints' table: each schema stands once, whatever the number of paths. Each of the two adds the
paths that it alone has. Not here: the schemas (request_schemas, answer_schemas).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from relay.answer_schemas import ANSWERS, ERROR, JSON, MODEL, Schema, of
from relay.endpoints import ENDPOINTS, PREFIXES, Endpoint
from relay.http import MODEL_HEADER
from relay.proxying import METHODS, PEERS_MODEL_HEADER
from relay.request_schemas import REQUESTS
from relay.target import PREFIX

_STATUSES = (400, 401, 403, 404, 413, 415, 429, 502, 503, 504)
_WAITING = (429, 503)  # say when to come again
_FORM = "multipart/form-data"
_UNLISTED = "OPTIONS", "HEAD"  # of the proxy's methods: they answer as the others do


def document(
    title: str,
    version: str,
    own_paths: Mapping[str, Any],
    bases: Iterable[str] = PREFIXES,
    proxies: Iterable[str] = (PREFIX,),
) -> dict[str, Any]:
    """The whole document; `bases` are the prefixes of the OpenAI paths, `proxies` those of the generic proxy."""
    paths: dict[str, Any] = {}
    for base in bases:
        paths |= _openai(base)
    for proxy in proxies:
        paths[f"{proxy}/{{path}}"] = _proxy(proxy)
    paths["/metrics"] = {"get": _said("The counters, for Prometheus.", {"text/plain": {}})}
    paths["/openapi.json"] = {"get": get("This document.", {"type": "object"}, ())}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths | dict(own_paths),
        "components": {
            "schemas": _schemas(),
            "responses": {str(status): _error(status) for status in _STATUSES},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}, {}],
    }


def get(summary: str, schema: Schema, errors: Iterable[int] = (), also: Iterable[int] = ()) -> dict[str, Any]:
    """An operation that answers JSON, with 200 and the statuses of `also`, or OpenAI's error envelope."""
    return _said(summary, {JSON: {"schema": schema}}, errors, (200, *also))


def errors_of(statuses: Iterable[int]) -> dict[str, Any]:
    """The responses that are OpenAI's error envelope."""
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def parameter(name: str, where: str, description: str = "", pattern: str = "") -> dict[str, Any]:
    """One of a path, a query or the headers, which is a text."""
    schema = {"type": "string", "minLength": 1} | ({"pattern": pattern} if pattern else {})
    found = {"name": name, "in": where, "required": where == "path", "schema": schema}
    return found | ({"description": description} if description else {})


def _openai(base: str) -> dict[str, Any]:
    """OpenAI's paths below one prefix."""
    vm = _vm_of(base)
    unknown_vm = (404,) if vm else ()
    listed = of("object data", object={"const": "list"}, data={"type": "array", "items": _ref("Model")})
    paths: dict[str, Any] = {
        f"{base}/models": {"get": get("The models that can be called here.", listed, (401, 403, *unknown_vm, 503))},
        f"{base}/models/{{model}}": {
            "get": get("One model.", _ref("Model"), (400, 401, 403, 404, 503)),
            "parameters": [parameter("model", "path")],
        },
    }
    paths |= {f"{base}/{endpoint.path}": {"post": _call(endpoint)} for endpoint in ENDPOINTS.values()}
    return {path: _with(vm, item) for path, item in paths.items()}


def _call(endpoint: Endpoint) -> dict[str, Any]:
    content = {_FORM if endpoint.takes_form else JSON: {"schema": _ref(f"{endpoint.name}.request")}}
    said = _said(f"OpenAI's {endpoint.name}, or its equal.", _content(endpoint), _STATUSES)
    about = "Fields beyond those named go to the engine as they stand." if not endpoint.takes_form else ""
    return {"description": about, "requestBody": {"required": True, "content": content}, **said}


def _content(endpoint: Endpoint) -> dict[str, Any]:
    content = ANSWERS[endpoint.name]
    return {**content, JSON: {"schema": _ref(f"{endpoint.name}.answer")}} if JSON in content else content


def _proxy(prefix: str) -> dict[str, Any]:
    """Any method; what the engine answers well comes as it is, what not as an error."""
    about = (
        f"The model is named by a header, or by 'model' in the body. A GET with Upgrade opens a websocket at {PREFIX}."
    )
    good = {"2XX": {"description": "As the engine answers.", "content": {"*/*": {}}}}
    described = {"summary": "A path of the model's own engine.", "description": about}
    answers = {"responses": good | errors_of(_STATUSES)}
    body = {"requestBody": {"content": {JSON: {"schema": {"type": "object"}}, "*/*": {}}}}
    methods = {
        method.lower(): {**described, **({} if method == "GET" else body), **answers}
        for method in METHODS
        if method not in _UNLISTED
    }
    named = [
        parameter("path", "path", "with its slashes as they are, as the model's settings open it"),
        *(parameter(name, "header", "a model's name") for name in (MODEL_HEADER, PEERS_MODEL_HEADER)),
    ]
    return _with(_vm_of(prefix), {**methods, "parameters": named})


def _vm_of(base: str) -> list[dict[str, Any]]:
    return [parameter("vm", "path", "a node's key, or a slug of a curator")] if "{vm}" in base else []


def _with(parameters: list[dict[str, Any]], item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "parameters": [*parameters, *item.get("parameters", [])]} if parameters else item


def _schemas() -> dict[str, Schema]:
    found: dict[str, Schema] = {"Error": ERROR, "Model": MODEL}
    for name in ENDPOINTS:
        found[f"{name}.request"] = REQUESTS[name]
        if JSON in ANSWERS[name]:
            found[f"{name}.answer"] = ANSWERS[name][JSON]["schema"]
    return found


def _said(
    summary: str, content: Mapping[str, Any], errors: Iterable[int] = (), good: Iterable[int] = (200,)
) -> dict[str, Any]:
    answers = {str(status): {"description": HTTPStatus(status).phrase, "content": dict(content)} for status in good}
    return {"summary": summary, "responses": answers | errors_of(errors)}


def _error(status: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {JSON: {"schema": _ref("Error")}},
    }
    if status in _WAITING:
        said["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return said


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
