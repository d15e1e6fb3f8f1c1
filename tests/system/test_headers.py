"""Which headers pass: named ones only, both ways."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import orjson

from registry.signing import sign_advert
from tests.stack import new_stack, serve_gateway
from tests.system.test_attacks import Operator, rogue

HOSTILE = {
    "X-Waypost-Model": "another-model",
    "X-Waypost-Token": "forged",
    "X-GPUStack-Model": "another-model",
    "Cookie": "session=mine",
    "Authorization": "Bearer secret",
    "X-Api-Key": "secret",
    "Proxy-Authorization": "Basic secret",
    "X-Forwarded-For": "10.0.0.1",
    "Connection": "keep-alive, X-Waypost-Model",
    "TE": "trailers",
    "X-Request-Id": "chosen-by-the-client",
}
ALWAYS = {"Content-Type": "application/json", "X-Request-Id": "chosen-by-the-client"}
NEVER_BACK = ("Set-Cookie", "Location", "Access-Control-Allow-Origin", "Strict-Transport-Security", "X-Something")


async def test_only_named_headers_pass(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    stack = await new_stack(tmp_path)
    async with rogue(tmp_path, "headers") as (url, node, record):
        operator = Operator(stack, url, node)
        await operator.post("advert", sign_advert(operator.advert("plain"), operator.wallet, node, None))
        async with serve_gateway(stack, ("--open",), proven=1):
            body = orjson.dumps({"model": "plain", "messages": [{"role": "user", "content": "Hello"}]})
            chat = f"{stack.base_url}/chat/completions"
            async with session.post(chat, data=body, headers=ALWAYS) as response:
                assert response.status == 200
            async with session.post(chat, data=body, headers={**ALWAYS, **HOSTILE}) as response:
                assert response.status == 200
                for name in NEVER_BACK:
                    assert name not in response.headers
                assert response.headers["Waypost-Node"] == node.public
                assert response.headers["X-Request-Id"] == "chosen-by-the-client"
                assert response.headers["Server"] == "waypost"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
    plain, hostile = (orjson.loads(line) for line in record.read_text().splitlines())
    assert plain == hostile  # the token too: it is the gateway's own, and made once a minute
    assert dict(plain["headers"])["X-Waypost-Model"] == "plain"
    assert plain["body"].encode() == body
