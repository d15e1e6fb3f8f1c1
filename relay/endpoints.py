"""The endpoints that node and gateway both serve: one row each of the protocol's table.

A further one is a row here, and an engine that answers it. Not here: reading a request (call), its checks (`*_input`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.audio_input import check_transcription
from relay.chat_input import check_chat, check_completion, check_message, check_response
from relay.embedding_input import check_embedding
from relay.events import CHAT_EVENTS, MESSAGE_EVENTS, OTHER_EVENTS, RESPONSE_EVENTS, Dialect
from relay.form import Form
from relay.image_input import check_edit, check_generation
from relay.rerank_input import check_rerank
from relay.speech_input import check_speech

MIB = 1024 * 1024
JSON_BODY_LIMIT_BYTES = 32 * MIB
UPLOAD_LIMIT_BYTES = 512 * MIB


@dataclass(frozen=True)
class Endpoint:
    """`name` as offers write it, `path` below `/v1/`, and what may be retried.

    `limit_bytes` is the largest body, where a server's own limit is not smaller. `flows`: what is answered passes on as
    it is made, whatever its media type. `unkept`: fields that are too large to keep once they were checked.
    """

    name: str
    path: str
    check: Callable[[Mapping[str, Any]], None] | None = None
    check_form: Callable[[Form], None] | None = None  # of an endpoint that takes multipart bodies
    retry_after_silence: bool = True
    events: Dialect = OTHER_EVENTS
    limit_bytes: int = JSON_BODY_LIMIT_BYTES
    flows: bool = False
    unkept: frozenset[str] = frozenset()

    @property
    def takes_form(self) -> bool:
        return self.check_form is not None


CHAT = Endpoint("chat.completions", "chat/completions", check_chat, events=CHAT_EVENTS)
COMPLETIONS = Endpoint("completions", "completions", check_completion, events=CHAT_EVENTS)
RESPONSES = Endpoint("responses", "responses", check_response, events=RESPONSE_EVENTS)
MESSAGES = Endpoint("messages", "messages", check_message, events=MESSAGE_EVENTS)
EMBEDDINGS = Endpoint("embeddings", "embeddings", check_embedding, unkept=frozenset({"input"}))
RERANK = Endpoint("rerank", "rerank", check_rerank)
IMAGES = Endpoint(
    "images.generations", "images/generations", check_generation, retry_after_silence=False, limit_bytes=MIB
)
EDITS = Endpoint(
    "images.edits", "images/edits", check_form=check_edit, retry_after_silence=False, limit_bytes=256 * MIB
)
SPEECH = Endpoint("audio.speech", "audio/speech", check_speech, retry_after_silence=False, limit_bytes=MIB, flows=True)
TRANSCRIPTIONS = Endpoint(
    "audio.transcriptions", "audio/transcriptions", check_form=check_transcription, retry_after_silence=False,
    limit_bytes=UPLOAD_LIMIT_BYTES,
)  # fmt: skip
TRANSLATIONS = Endpoint(
    "audio.translations", "audio/translations", check_form=check_transcription, retry_after_silence=False,
    limit_bytes=UPLOAD_LIMIT_BYTES,
)  # fmt: skip
PROXY = "proxy"  # served under /model/proxy, and so no row

ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS, RERANK, IMAGES, EDITS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS
    )
}  # fmt: skip
PREFIXES = ("/v1", "/v1-openai")
