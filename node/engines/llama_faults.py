"""What llama-server's error answers mean: whose fault it is, in OpenAI's words.

It answers 500 for much that the caller did wrong, and its codes are integers. Not here: sending and relaying, and why
it does not start (llama_refusals).
"""

from __future__ import annotations

import re

from relay.errors import ApiError, BadRequest, BadUpstream, Unavailable, from_upstream

# Failures of its own, by how their text begins. Any other 500 was thrown while it read the request.
_OWN_FAULTS = (
    "Compute error",
    "Invalid input batch",
    "Context size has been exceeded",
    "context shift",
    "got exception",
    "failed to process",
    "failed to decode",
    "Unable to",
    "unknown error",
    "Internal Server Error",
    "std::",
    "vector::",
    "basic_string",
)
_RETRY_S = 1
# What an embedding model says of a long input. Its advice is for whoever runs it: the batch is as large as the context.
_BEYOND_BATCH = re.compile(
    r"(?P<what>.* is too large to process)\. increase the physical batch size \(current batch size: (?P<limit>\d+)\)"
)


def translate(status: int, body: bytes) -> ApiError:
    """llama-server's error answer, as an error of ours with its message kept."""
    error = from_upstream(status, body)
    message = error.message
    if beyond := _BEYOND_BATCH.fullmatch(message):
        text = f"{beyond['what']}; this model takes at most {beyond['limit']} tokens an input."
        return BadRequest(text, param="input", code="context_length_exceeded")
    if _is_context(body):
        return BadRequest(message, code="context_length_exceeded")
    if status == 503:
        return Unavailable(message, code="engine_loading", retry_after_s=_RETRY_S)
    if status == 500 and message.startswith(_OWN_FAULTS):
        return BadUpstream(message, code="engine_failed")
    if status == 500 and not _is_envelope(body):
        return BadUpstream("The engine failed.", code="engine_failed")
    if status in (400, 500, 501):
        return BadRequest(message, param=error.param, code="invalid_request")
    return error if 400 <= status < 500 else BadUpstream(message, code="engine_failed")


def _is_context(body: bytes) -> bool:
    return b"exceed_context_size_error" in body or b"is too large to process" in body


def _is_envelope(body: bytes) -> bool:
    return body.lstrip().startswith(b'{"error"')
