"""One call for each endpoint: a row each. A further endpoint is a further row.

Not here: how a gateway is asked (trial), which rows are tried and how that is shown (first_call).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deploy import chat, samples
from deploy.demo import VISION
from deploy.trial import CallFailed, Trial

_QUESTION = "How do I reset my password?"
_DOCUMENTS = ["The cat sleeps on the mat.", "A forgotten password can be changed here.", "Paris is in France."]
_SENTENCE = "The train to the city leaves early."
_SHOWN = 46  # characters of a text in the table


@dataclass(frozen=True)
class EndpointCall:
    """`endpoint` as offers name it; `ask` returns what came back, in a few words, or raises CallFailed.

    `use` shows how a client calls it: a line for Python's official client, else for curl, with `{model}` and `{url}`.
    """

    endpoint: str
    path: str
    ask: Callable[[Trial, str], Awaitable[str]]
    use: str


async def _chat(trial: Trial, model: str) -> str:
    if model == VISION.name:
        return await _see(trial, model)
    said = [piece async for piece in chat.pieces(trial, model)]
    return f"{len(said)} pieces: {_quoted(''.join(said), _SHOWN - 11)}"


async def _see(trial: Trial, model: str) -> str:
    picture = f"data:image/png;base64,{base64.b64encode(trial.picture).decode()}"
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": picture}}]
    body = {"model": model, "max_tokens": 12, "messages": [{"role": "user", "content": content}]}
    made = await trial.posted(chat.PATH, body)
    return f"of a picture: {_quoted(made['choices'][0]['message']['content'], _SHOWN - 14)}"


async def _complete(trial: Trial, model: str) -> str:
    body = {"model": model, "prompt": "Once upon a time", "max_tokens": 12}
    return _quoted((await trial.posted("/v1/completions", body))["choices"][0]["text"])


async def _respond(trial: Trial, model: str) -> str:
    body = {"model": model, "input": "Name a colour.", "max_output_tokens": 12}
    made = await trial.posted("/v1/responses", body)
    return _quoted("".join(part.get("text", "") for item in made["output"] for part in item.get("content", ())))


async def _message(trial: Trial, model: str) -> str:
    body = {"model": model, "max_tokens": 12, "messages": [{"role": "user", "content": "Name an animal."}]}
    made = await trial.posted("/v1/messages", body)
    return _quoted("".join(part.get("text", "") for part in made["content"]))


async def _embed(trial: Trial, model: str) -> str:
    made = await trial.posted("/v1/embeddings", {"model": model, "input": _QUESTION})
    vector = made["data"][0]["embedding"]
    return f"{len(vector)} numbers: {', '.join(f'{number:.3f}' for number in vector[:3])}, ..."


async def _rerank(trial: Trial, model: str) -> str:
    body = {"model": model, "query": _QUESTION, "documents": _DOCUMENTS}
    best = (await trial.posted("/v1/rerank", body))["results"][0]
    return f"{best['relevance_score']:.2f} for {_quoted(_DOCUMENTS[best['index']], _SHOWN - 9)}"


async def _generate(trial: Trial, model: str) -> str:
    made = await trial.posted("/v1/images/generations", {"model": model, "prompt": "a lighthouse"})
    return _picture(trial, made["data"][0]["b64_json"])


async def _edit(trial: Trial, model: str) -> str:
    fields = {"model": model, "prompt": "the same at night"}
    made = await trial.sent("/v1/images/edits", fields, "image", "picture.png", trial.picture)
    return _picture(trial, made["data"][0]["b64_json"])


async def _speak(trial: Trial, model: str) -> str:
    body = {"model": model, "input": _SENTENCE, "voice": "default", "response_format": "wav"}
    trial.sound = await trial.fetched("/v1/audio/speech", body)
    return f"WAV, {samples.seconds_of_wav(trial.sound):.1f} s of speech"


async def _transcribe(trial: Trial, model: str) -> str:
    made = await trial.sent("/v1/audio/transcriptions", {"model": model}, "file", "speech.wav", trial.sound)
    return _quoted(made["text"], may_be_empty=True)


async def _translate(trial: Trial, model: str) -> str:
    made = await trial.sent("/v1/audio/translations", {"model": model}, "file", "speech.wav", trial.sound)
    return _quoted(made["text"], may_be_empty=True)


async def _tokenize(trial: Trial, model: str) -> str:
    made = await trial.posted("/model/proxy/tokenize", {"content": _SENTENCE}, model)
    return f"{len(made['tokens'])} tokens of llama.cpp's own tokenizer"


def _picture(trial: Trial, encoded: str) -> str:
    trial.picture = base64.b64decode(encoded)
    width, height = samples.size_of_png(trial.picture)
    return f"PNG, {width}x{height}, {len(trial.picture) / 1000:.1f} kB"


def _quoted(text: str, most: int = _SHOWN, may_be_empty: bool = False) -> str:
    text = " ".join(text.split())
    if not text and not may_be_empty:
        raise CallFailed("the answer was empty")
    return f'"{text}"' if len(text) <= most - 2 else f'"{text[: most - 5]}..."'


_JSON = "-H 'Content-Type: application/json' \\\n    -d '"
CALLS = (
    EndpointCall(
        "chat.completions", chat.PATH, _chat,
        'client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello!"}}])',
    ),
    EndpointCall(
        "completions", "/v1/completions", _complete,
        'client.completions.create(model="{model}", prompt="Once upon a time")',
    ),
    EndpointCall(
        "responses", "/v1/responses", _respond, 'client.responses.create(model="{model}", input="Name a colour.")'
    ),
    EndpointCall(
        "messages", "/v1/messages", _message,
        f"curl {{url}}/v1/messages {_JSON}"
        '{{"model": "{model}", "max_tokens": 12, "messages": [{{"role": "user", "content": "Hello!"}}]}}\'',
    ),
    EndpointCall(
        "embeddings", "/v1/embeddings", _embed, 'client.embeddings.create(model="{model}", input="Hello!")'
    ),
    EndpointCall(
        "rerank", "/v1/rerank", _rerank,
        f"curl {{url}}/v1/rerank {_JSON}"
        '{{"model": "{model}", "query": "password", "documents": ["a cat", "forgot my login"]}}\'',
    ),
    EndpointCall(
        "images.generations", "/v1/images/generations", _generate,
        'client.images.generate(model="{model}", prompt="a lighthouse")',
    ),
    EndpointCall(
        "images.edits", "/v1/images/edits", _edit,
        'client.images.edit(model="{model}", image=open("picture.png", "rb"), prompt="at night")',
    ),
    EndpointCall(
        "audio.speech", "/v1/audio/speech", _speak,
        'client.audio.speech.create(model="{model}", voice="default", input="Hello!")',
    ),
    EndpointCall(
        "audio.transcriptions", "/v1/audio/transcriptions", _transcribe,
        'client.audio.transcriptions.create(model="{model}", file=open("speech.wav", "rb"))',
    ),
    EndpointCall(
        "audio.translations", "/v1/audio/translations", _translate,
        'client.audio.translations.create(model="{model}", file=open("speech.wav", "rb"))',
    ),
    EndpointCall(
        "proxy", "/model/proxy/tokenize", _tokenize,
        f"curl {{url}}/model/proxy/tokenize -H 'X-Waypost-Model: {{model}}' {_JSON}"
        '{{"content": "Hello!"}}\'',
    ),
)  # fmt: skip
