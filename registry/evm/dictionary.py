"""The preset dictionary of the compact payload: what envelopes are made of, the likeliest last, where deflate is best.

Part of the format: a payload packed with another one is unreadable. A better one needs another first byte.
"""

from __future__ import annotations

__all__ = ["DICTIONARY"]

# A JSON text inside JSON: its quotes are escaped. \xf8 to \xfd stand for runs, see `payload`.
_OTHER_KINDS = rb"""
{"kind":"curation","text":"{\"curator\":\"0x%a\",\"expires_at\":17,\"models\":{\"\":\"%d\"},\"nodes\":[\"%n\"],
\"operators\":[\"0x%a\"],\"seq\":17,\"slugs\":{\"\":\"%n\"},\"v\":1}","signature":"0x%s"}
{"kind":"revocation","text":"{\"delegates\":[\"0x%a\"],\"operator\":\"0x%r\x00\",\"seq\":17,\"v\":1}","signature":"0x%s"}
"""
_VALUES = rb"""
NVIDIA GeForce RTX 3090 NVIDIA A100-SXM4-80GB NVIDIA H100 NVIDIA L40S \"image\"],\"audio\"],
stable-diffusion whisper-tiny piper/ mistral- gemma- llama-3 qwen -8b-instruct 7b Q8_0 Q4_K_M Q5_K_M Q6_K F16
\"images.generations\",\"images.edits\"],\"audio.speech\"],\"audio.transcriptions\",\"audio.translations\"],
\"embeddings\"],\"rerank\"],\"responses\",\"messages\"],\"proxy\"],usd/1M completion tokens\"},{\"amount\":\"0.0
\"tls_spki_sha256\":null,\"vm\":{\"item_hash\":\"%d\",\"platform\":\"aleph\"},\"offers\":[],
{\"gpu\":\"NVIDIA GeForce RTX 4090\",\"vram_mib\":24564},\"region\":\"eu-west\",
\"aliases\":[],\"prices\":[],\"resume\":false,\"warm\":false,\"context_length\":null,\"engine\":\"external\",
\"template_sha256\":\"%d\",\"quantization\":null,\"weights_sha256\":null}],\"context_length\":32768,
\"node\":\"%n\",\"url_suffixes\":[\"2n6.me\"],},{\"aliases\":[\"
"node_signature":null,"delegation":null}
"""
_ADVERT = rb"""
{"kind":"advert","text":"{\"expires_at\":179,\"hardware\":{\"issued_at\":179,\"node\":\"%n\",\"offers\":[{\"aliases\":[\"
\"],\"context_length\":8192,\"endpoints\":[\"chat.completions\",\"completions\"],\"engine\":\"llama.cpp/0.3.36\",
\"modalities\":[\"text\"],\"model\":\"-instruct\",\"parallel\":4,
\"prices\":[{\"amount\":\"0.05\",\"unit\":\"usd/1M prompt tokens\"}],\"quantization\":\"Q4_1\",\"resume\":true,
\"template_sha256\":null,\"warm\":true,\"weights_sha256\":\"%d\"}],\"operator\":\"0x%a\",\"seq\":179
\"tls_spki_sha256\":\"%d\",\"url\":\"https://.2n6.me\",\"v\":1}","signature":"0x%s","node_signature":"%e",
"delegation":{"text":"{\"delegate\":\"0x%a\",\"expires_at\":179,\"issued_at\":179,\"node\":null,
\"operator\":\"0x%r\x02\",\"url_suffixes\":null,\"v\":1}","signature":"0x%s"}}
"""


def _dictionary() -> bytes:
    raw = (_OTHER_KINDS + _VALUES + _ADVERT).replace(b"\n", b"")
    for name, mark in ((b"a", b"\xf8"), (b"d", b"\xf9"), (b"s", b"\xfa"), (b"n", b"\xfb"), (b"e", b"\xfc")):
        raw = raw.replace(b"%" + name, mark)
    return raw.replace(rb"%r\x00", b"\xfd\x00").replace(rb"%r\x02", b"\xfd\x02")


DICTIONARY = _dictionary()
