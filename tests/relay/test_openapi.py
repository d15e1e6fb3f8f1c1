"""The descriptions of node and gateway: valid, whole, and without copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson
import pytest
import schemathesis

import gateway.openapi
import node.openapi
from node.workers.speech import MEDIA_TYPES
from relay import openapi
from relay.answer_schemas import ANSWERS, SOUNDS
from relay.call import check_models
from relay.endpoints import ENDPOINTS, PREFIXES
from relay.errors import BadRequest
from relay.request_schemas import REQUESTS
from relay.speech_input import FORMATS
from relay.target import PREFIX

VM = "/vm/{vm}"
NODE = openapi.document("node", "1", node.openapi.PATHS)
GATEWAY = openapi.document(
    "gateway", "1", gateway.openapi.PATHS, (*PREFIXES, *(VM + prefix for prefix in PREFIXES)), (PREFIX, VM + PREFIX)
)
BOTH = pytest.mark.parametrize("document", [NODE, GATEWAY], ids=["node", "gateway"])


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            yield f"{method} {path}", item[method]


@BOTH
def test_it_is_openapi(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(orjson.loads(orjson.dumps(document))).validate()


@BOTH
def test_each_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(document))
    parts = document["components"]
    assert found == {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in parts[kind]}


def test_each_endpoint_is_described_under_each_prefix() -> None:
    assert set(REQUESTS) == set(ANSWERS) == set(ENDPOINTS)
    for document, bases in ((NODE, PREFIXES), (GATEWAY, (*PREFIXES, *(VM + prefix for prefix in PREFIXES)))):
        for base in bases:
            for endpoint in ENDPOINTS.values():
                operation = document["paths"][f"{base}/{endpoint.path}"]["post"]
                kind = "multipart/form-data" if endpoint.takes_form else "application/json"
                assert list(operation["requestBody"]["content"]) == [kind]
                assert "404" in operation["responses"]
    assert "/files/{name}" in NODE["paths"]
    assert {f"{PREFIX}/{{path}}", f"{VM}{PREFIX}/{{path}}"} <= GATEWAY["paths"].keys()


@BOTH
def test_each_variable_of_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        given = {parameter["name"] for parameter in item.get("parameters", ()) if parameter["in"] == "path"}
        assert given == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


@BOTH
def test_each_error_is_the_envelope(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status[0] in "45" and not name.endswith("/health"):
                assert response == {"$ref": f"#/components/responses/{status}"}, name


def test_speech_has_all_its_media_types() -> None:
    assert set(SOUNDS) == set(MEDIA_TYPES.values())
    assert set(FORMATS) == set(MEDIA_TYPES)


@pytest.mark.parametrize(
    ("named", "good"),
    [
        ({"model": "m"}, True),
        ({"model": "m", "models": ["n", "m", "n"]}, True),
        ({"model": "m", "models": []}, True),
        ({"model": "m", "models": None}, True),
        ({"models": ["m", "n"]}, True),
        ({"models": []}, False),
        ({"models": None}, False),
        ({}, False),
        ({"model": None, "models": ["n"]}, False),
        ({"model": "m", "models": ["n"] * 9}, False),
        ({"model": "m", "models": ["n", ""]}, False),
        ({"model": "m", "models": "n"}, False),
    ],
)
def test_which_models_may_be_named_is_described_as_it_is_checked(named: dict[str, Any], good: bool) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], **named}
    assert jsonschema_rs.is_valid(REQUESTS["chat.completions"], body) is good
    if good:
        assert check_models(named)
    else:
        with pytest.raises(BadRequest):
            check_models(named)
