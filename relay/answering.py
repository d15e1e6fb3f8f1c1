"""A request of the hot path, answered whatever becomes of it: it has an id, its errors are envelopes, it is observed.

What `relay.http` is for the application, this is for `relay.wire`. Not here: bytes (wire), and what is asked (call).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from relay.errors import ApiError, ExpectationFailed, Internal, MethodNotAllowed
from relay.http import Observer, request_id
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler

log = logging.getLogger("waypost.http")


class Api:
    """Handlers of POST requests by path, see `wire.routes`. `observe` as in `http.make_app`."""

    def __init__(self, handlers: Mapping[str, Handler], observe: Observer | None = None) -> None:
        self.handlers = handlers
        self._observe = observe

    async def answer(self, inbound: Inbound) -> None:
        """Never raises, but for the cancellation of a client that left."""
        started = time.monotonic()
        inbound.request_id = request_id(inbound.headers)
        try:
            _check(inbound)
            await inbound.handler(inbound)
        except ApiError as error:
            _refuse(inbound, error)
        except ConnectionError:
            inbound.break_off()  # the client is gone, or as good as gone
        except Exception:
            log.exception("%s failed", inbound.request_id)
            _refuse(inbound, Internal("The server failed to handle this request. It has been logged."))
        finally:
            self._finish(inbound, time.monotonic() - started)

    def refuse(self, inbound: Inbound, error: ApiError) -> None:
        """What is no request is answered all the same."""
        inbound.request_id = request_id(inbound.headers)
        _refuse(inbound, error)
        self._finish(inbound, 0.0)

    def _finish(self, inbound: Inbound, seconds: float) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info("%s %s %s %d %.3fs", inbound.request_id, inbound.method, inbound.template, inbound.status, seconds)
        if self._observe is not None:
            self._observe(inbound.template, inbound.model, inbound.status, seconds)


def _check(inbound: Inbound) -> None:
    if inbound.method != "POST":
        message = f"{inbound.method} is not allowed on {inbound.template}; use POST."
        raise MethodNotAllowed(message, code="method_not_allowed", headers={"Allow": "POST"})
    expected = inbound.headers.get("Expect")
    if expected is not None and expected.strip().lower() != "100-continue":
        raise ExpectationFailed(f"'Expect: {expected:.100}' cannot be met; leave it out.", code="unknown_expectation")


def _refuse(inbound: Inbound, error: ApiError) -> None:
    if inbound.begun:  # another answer would stand in the middle of this one
        inbound.break_off()
        return
    inbound.respond(error.status, {"Content-Type": "application/json", **error.headers()}, error.body())
