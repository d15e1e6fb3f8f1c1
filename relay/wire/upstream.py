"""One connection to an upstream: a request goes out, its answer comes in, and then perhaps the next.

The hot path is `data_received`: a read is parsed, and its payload handed on as one piece, at once and to one callable.
Not here: what the bytes mean (reading), who waits for them (source), and which connection is used (upstreams).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from relay.errors import ApiError
from relay.limits import Limits
from relay.wire.channel import Channel, nowhere
from relay.wire.phase import Phase
from relay.wire.reading import HEAD_LIMIT_BYTES, MALFORMED, Reading
from relay.wire.source import Arriving
from relay.wire.watch import Watch

_IDLE_S = 15.0  # well under the server's, so that a kept connection is seldom closed as we send
_JOINED_BYTES = 64 * 1024  # so long a body goes out with its head, in one write


class Upstream(Channel):
    """A connection. `on_rest(self)` says that it can be asked again, `on_lost(self)` that it never will be."""

    __slots__ = ("_arriving", "_blank", "_feed", "_pieces", "_reading", "_sending", "on_lost", "on_rest")

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch, _IDLE_S)
        self.on_rest: Callable[[Upstream], None] = _unowned
        self.on_lost: Callable[[Upstream], None] = _unowned
        self._reading = Reading()
        self._feed = self._reading.feed
        self._pieces = self._reading.pieces
        self._blank = 0  # bytes that came since the last payload
        self._arriving: Arriving | None = None  # from the request to the answer's end
        self._sending: asyncio.Task[None] | None = None  # of a body that comes in pieces

    def __repr__(self) -> str:
        return f"<Upstream {self.phase.value}{' paused' if self._paused else ''}>"

    # --- the request

    async def ask(self, head: bytes, body: bytes | AsyncIterator[bytes], limits: Limits) -> Arriving:
        """Send a request; its answer once the head of that is there. Whatever it raises, the connection is gone.

        Raises Reset, BadUpstream, UpstreamTimeout, and what `body` raises.
        """
        transport = self._transport
        if transport is None or self.phase is not Phase.IDLE:
            raise Phase.HEAD.closed()
        self.phase = Phase.HEAD
        self._reading.expect(bodiless=head.startswith(b"HEAD "))
        self.wait(limits.head_s)
        arriving = self._arriving = Arriving(self)
        sending: asyncio.Task[None] | None = None
        if not isinstance(body, bytes):
            transport.write(head)
            sending = self._sending = asyncio.get_running_loop().create_task(self._send(body, transport))
        elif len(body) <= _JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        try:
            await arriving.head()
        except BaseException:
            arriving.close()  # it may have come to its end by now, and somebody else be using the connection
            if sending is not None and not sending.done():
                await asyncio.wait([sending])  # the body is let go of before whoever gave it goes on
            raise
        return arriving

    @property
    def touched(self) -> bool:
        """Whether a byte of the answer has come."""
        return self._reading.begun

    async def _send(self, body: AsyncIterator[bytes], transport: asyncio.Transport) -> None:
        try:
            async for piece in body:
                if self.phase is Phase.HEAD:
                    self._heard = True
                transport.write(piece)
                if self._out is not None:
                    await self._out
        except Exception as error:
            self._break(error)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()

    # --- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.phase is Phase.CLOSED:
            self._close()  # whoever wanted it has given up

    def data_received(self, data: bytes) -> None:
        # To call what a slot holds is dear in Python 3.11, to load it first is not; this is done for each token.
        self._heard = True
        pieces, feed, take = self._pieces, self._feed, self.take
        try:
            feed(data)
        except MALFORMED:
            self._malformed()
            return
        if self._reading.turned or not pieces:
            self._turn(len(data))
            return
        self._blank = 0
        if len(pieces) == 1:
            piece = pieces.pop()
        else:
            piece = b"".join(pieces)
            pieces.clear()
        try:
            take(piece)
        except ApiError as error:
            self._break(error)

    def eof_received(self) -> None:
        if self._arriving is not None and self._reading.until_closed:
            self._finish()
        else:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.close()

    # --- turns of the answer

    def _turn(self, size: int) -> None:
        """Something else than the next bytes of a stream came."""
        reading = self._reading
        if not reading.turned:
            self._blank += size
            if self.phase is Phase.IDLE or self._blank > HEAD_LIMIT_BYTES:
                self._malformed()
            return
        reading.turned = False
        if self.phase is Phase.HEAD:
            if self._blank + size > HEAD_LIMIT_BYTES and reading.fields.size() > HEAD_LIMIT_BYTES:
                reading.head = False
                self._malformed()
                return
            self._begin()
        elif not self._hand_on():
            return
        self._blank = 0
        if reading.ended and self._arriving is not None:
            self._finish()

    def _begin(self) -> None:
        """The answer's head is there, and perhaps what follows it."""
        arriving, reading = self._arriving, self._reading
        assert arriving is not None
        self.phase = Phase.BODY
        self.rest()
        self.take = arriving.hold
        first = b"".join(self._pieces)
        self._pieces.clear()
        arriving.begin(reading.status, reading.fields, first)

    def _hand_on(self) -> bool:
        """Whether the answer goes on after it: a sink may find that it is not worth it."""
        if self._pieces:
            piece = b"".join(self._pieces)
            self._pieces.clear()
            try:
                self.take(piece)
            except ApiError as error:
                self._break(error)
                return False
        return True

    def _malformed(self) -> None:
        """What came before the fault is as good as ever."""
        reading = self._reading
        if self.phase is Phase.HEAD and reading.head:
            self._begin()
        elif self.phase in (Phase.BODY, Phase.FULL) and not self._hand_on():
            return
        if self.phase is not Phase.HEAD and reading.ended and self._arriving is not None:
            reading.surplus = True
            self._finish()
            return
        self._break(self.phase.malformed())

    def _finish(self) -> None:
        """The answer is whole. The connection goes back before anybody is told."""
        arriving, self._arriving = self._arriving, None
        self.take = nowhere
        if self._good_for_another():
            self.phase = Phase.IDLE
            self._sending = None
            self.wait(_IDLE_S)
            self.resume()
            self.on_rest(self)
        else:
            self.drop()
        if arriving is not None:
            arriving.finish()

    def _good_for_another(self) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        sent = self._sending is None or self._sending.done()
        return sent and self._reading.kept and not self._reading.surplus

    # --- ends before their time

    def close(self) -> None:
        """Whatever goes on: whoever waits is told that it broke off."""
        self._break(self.phase.closed())

    def drop(self) -> None:
        """Close, and tell nobody but the pool."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self.take = nowhere
        self._arriving = None
        self._reading.stop()
        self._feed = self._reading.feed
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()
        self._sending = None
        self._close()
        self.on_lost(self)

    def overdue(self) -> None:
        self._break(self.phase.overdue())

    def _break(self, error: BaseException) -> None:
        arriving = self._arriving
        self.drop()
        if arriving is not None:
            arriving.fail(error)


def _unowned(_: Upstream) -> None:
    pass
