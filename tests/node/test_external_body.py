"""The model's name in a body is replaced, and nothing else of it."""

from __future__ import annotations

import pytest

from node.engines.external_body import renamed, spliced
from relay.call import Call
from relay.endpoints import CHAT
from relay.errors import BadRequest
from relay.form import Form
from relay.parts import Parts
from relay.spool import Spool


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' {\n "n" : 1.10,"model"\t:\r\n "a" , "x":1e400 } ', b' {\n "n" : 1.10,"model"\t:\r\n "new" , "x":1e400 } '),
        (b'{"m":"model","model":"a","z":["model"]}', b'{"m":"model","model":"new","z":["model"]}'),
        (b'{"t":{"model":"a"},"model":"a"}', b'{"t":{"model":"a"},"model":"new"}'),
        (b'{"t":[{"model":"a"},"model"],"model":"a"}', b'{"t":[{"model":"a"},"model"],"model":"new"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"new","model":"new"}'),
        (b'{"mod\\u0065l":"b","model":"a"}', b'{"mod\\u0065l":"new","model":"new"}'),
        (b'{"model":{"model":"x"},"model":"a"}', b'{"model":{"model":"x"},"model":"new"}'),
        (b'{"a\\"model":"{","model":"a\\\\"}', b'{"a\\"model":"{","model":"new"}'),
        (b'{"x":"\\\\","model":"a","y":"}{]["}', b'{"x":"\\\\","model":"new","y":"}{]["}'),
        (b'{"big":12345678901234567890123,"model":"\xc3\xa9"}', b'{"big":12345678901234567890123,"model":"new"}'),
    ],
)
def test_only_the_object_s_own_model_is_replaced(body: bytes, sent: bytes) -> None:
    assert spliced(body, "new") == sent


def test_a_name_is_written_as_json() -> None:
    assert spliced(b'{"model":"a"}', 'a"\\b') == b'{"model":"a\\"\\\\b"}'


def test_where_models_alone_names_one_it_is_given_a_model() -> None:
    assert spliced(b' {"models":["a"]}', "b") == b' {"model":"b","models":["a"]}'


def test_a_long_body_of_escapes_and_brackets_is_gone_through() -> None:
    text = b"\\n" * 1_000_000 + b"x" * 1_000_000
    body = b'{"input":"%s","deep":%s,"model":"a"}' % (text, b"[" * 1000 + b"]" * 1000)
    assert spliced(body, "b") == body[:-4] + b'"b"}'


def call(body: bytes, form: Form | None = None) -> Call:
    return Call(CHAT, "a", False, "id", body=body, form=form)


async def test_a_call_keeps_all_but_its_body() -> None:
    for size in (1, 2_000_000):  # the second is gone through in a thread
        text = b"x" * size
        sent = await renamed(call(b'{"model":"a","messages":"%s"}' % text), "b")
        assert sent == call(b'{"model":"b","messages":"%s"}' % text)


async def test_a_form_whose_boundary_would_end_in_the_new_name_is_refused() -> None:
    spool = Spool()
    parts = Parts(b"real")
    body = b'--real\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--real--\r\n'
    parts.feed(body)
    await spool.write(body)
    with Form(spool, "real", parts.found, parts.texts) as form:
        with pytest.raises(BadRequest, match="choose another"):
            await renamed(call(b"", form), "org/a--real-model")
        sent = await renamed(call(b"", form), "org/a")
        payload = sent.payload()
        assert not isinstance(payload, bytes)
        read = b"".join([piece async for piece in payload])
        assert read == body.replace(b"\r\na\r\n", b"\r\norg/a\r\n")
        assert len(read) == sent.size
