"""Node and gateway keep to the openapi.json that they serve: right and wrong requests made from it get the statuses,
media types and bodies that stand in it, and never a 5xx.

What is drawn is the same in each run. Statuses that need a busy, broken or closed node are not met here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from relay.endpoints import ENDPOINTS
from relay.http import MODEL_HEADER
from tests.stack import MODEL, MODEL_OF, Stack
from tests.system.good_calls import FIELDS, PNG, WAV, assert_alive, base_of

pytestmark = pytest.mark.engine
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# What is wrong by the schema must be refused where nothing passes on to the engine as it stands.
STRICT = ("embeddings", "rerank", "images.generations", "audio.speech")
SLOW = ("images.generations", "images.edits", "audio.transcriptions", "audio.translations")
EXAMPLES, SLOW_EXAMPLES, OTHER_EXAMPLES = 15, 4, 3
LIMIT_S = 60
LONGEST = 50
PROXIED = ["tokenize", "detokenize", "apply-template", "slots"]
LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
COSTLY = ("n", "steps")


@cache
def described(base: str, key: str) -> schemathesis.BaseSchema:
    """The document as it is served, the models and the node that are there filled in, and no text in it long."""
    document = requests.get(f"{base}/openapi.json", timeout=LIMIT_S).json()
    for endpoint, model in MODEL_OF.items():
        schema = document["components"]["schemas"][f"{endpoint}.request"]
        schema["properties"]["model"] = {"const": model}
        if "model" not in schema["required"]:
            schema["required"].append("model")  # else some bodies would name nothing but other models
        if endpoint in FIELDS:
            schema["additionalProperties"] = False  # others have names that no form can hold
        for field in schema["properties"].values():
            field.update({"maxLength": LONGEST} if "maxLength" in field else {})
    there = {"vm": [key], "path": PROXIED, MODEL_HEADER: [MODEL]}
    for path in document["paths"].values():
        for parameter in path.get("parameters", ()):
            if parameter["name"] in there:
                parameter["schema"]["enum"] = there[parameter["name"]]
    return schemathesis.openapi.from_dict(document)


def ask(base: str, operation: APIOperation, mode: GenerationMode, examples: int, endpoint: str = "") -> None:
    """Requests made from an operation's description, each answer checked against it."""
    checks = [*CHECKS, negative_data_rejection] if endpoint in STRICT else CHECKS

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def sent(case: Case) -> None:
        make_cheap(case, mode, endpoint)
        response = case.call(base_url=base, timeout=LIMIT_S)
        case.validate_response(response, checks=checks)

    sent()


def make_cheap(case: Case, mode: GenerationMode, endpoint: str) -> None:
    """Few tokens, few steps, small pictures and short recordings, so that what is right is soon answered."""
    body = case.body
    if not isinstance(body, dict):
        return
    for name in LENGTHS:
        if name in body and (body[name] is None or is_number(body[name])):
            body[name] = 2  # less than 0 would be without an end
    for name in COSTLY:
        if is_number(body.get(name)) and body[name] > 1:
            body[name] = 1
    if endpoint in ("chat.completions", "completions"):
        body.setdefault("max_tokens", 2)
    if endpoint == "responses":
        body.setdefault("max_output_tokens", 2)
    if endpoint.startswith("images."):
        body.setdefault("steps", 1)
        if "size" not in body or (isinstance(body["size"], str) and "x" in body["size"]):
            body["size"] = "64x64"
    if mode is GenerationMode.POSITIVE and endpoint in FIELDS:  # elsewhere a field of such a name is any other
        put_files(body)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def put_files(body: dict[str, Any]) -> None:
    """Files that are what they should be: what is drawn at random is neither a picture nor a recording."""
    body.update({"file": WAV} if "file" in body else {})
    body.update({name: [PNG] for name in ("image", "image[]") if name in body})
    body.update({"mask": PNG} if "mask" in body else {})


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("where", ["gateway", "node"])
async def test_an_endpoint_keeps_to_its_description(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str, mode: GenerationMode
) -> None:
    base = base_of(full_stack, where)
    operation = described(base, full_stack.nodes[0].key)[f"/v1/{ENDPOINTS[endpoint].path}"]["POST"]
    ask(base, operation, mode, SLOW_EXAMPLES if endpoint in SLOW else EXAMPLES, endpoint)
    await assert_alive(session, base, endpoint)


def others(schema: schemathesis.BaseSchema) -> Iterator[tuple[APIOperation, str]]:
    """All that is no endpoint below /v1, with the endpoint that it is elsewhere; the slow ones only there."""
    endpoints = {endpoint.path: endpoint.name for endpoint in ENDPOINTS.values()}
    for found in schema.get_all_operations():
        operation = found.ok()
        prefix, _, path = operation.path.rpartition("/v1/")
        endpoint = endpoints.get(path, "") or endpoints.get(operation.path.rpartition("/v1-openai/")[2], "")
        if endpoint not in SLOW and (prefix or not endpoint):
            yield operation, endpoint


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("where", ["gateway", "node"])
def test_everything_else_keeps_to_its_description(full_stack: Stack, where: str, mode: GenerationMode) -> None:
    base = base_of(full_stack, where)
    for operation, endpoint in others(described(base, full_stack.nodes[0].key)):
        try:
            ask(base, operation, mode, OTHER_EXAMPLES, endpoint)
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # where nothing is sent, nothing can be wrong
