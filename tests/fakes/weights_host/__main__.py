"""The sockets, the routes, and the side door."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
from dataclasses import asdict, replace
from typing import Any

from tests.fakes.weights_host.answers import Answer, Sent, file_answer, head_of, pour
from tests.fakes.weights_host.faults import Fault
from tests.fakes.weights_host.files import File
from tests.fakes.weights_host.hub import Hub

_NO_FILE = Answer(404, {"Content-Length": "0"})
_PAGE = b"<html><body>Please log in</body></html>"


class Host:
    """Owns the files, the script of faults, and what was sent."""

    def __init__(self, files: dict[str, File]) -> None:
        self._files = files
        self._hub = Hub(files)
        self._script: list[Fault] = []
        self._always = Fault()
        self._bad: random.Random | None = None
        self._sent: list[Sent] = []
        self._seen: list[dict[str, Any]] = []
        self.url = self.cdn = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, the end of the connection."""
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if path == "/_control":
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self._write(writer, self._control(json.loads(body or b"{}")))
            else:
                port = writer.get_extra_info("sockname")[1]
                await self._file(method, path, headers, self.cdn.endswith(f":{port}"), reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _file(
        self, method: str, path: str, asked: dict[str, str], at_cdn: bool,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self._seen.append({"method": method, "path": path, "cdn": at_cdn, **asked})
        name = path.partition("?")[0].rpartition("/")[2]
        if "/resolve/" in path and not at_cdn and (said := self._hub.answer(path, asked, self.cdn)) is not None:
            self._write(writer, replace(said, body=b"") if method == "HEAD" else said)
            return
        fault = self._next_fault(method)
        answer = self._answer(name, path, asked, at_cdn, fault)
        writer.write(head_of(answer, fault))
        if method == "GET" and answer.status in (200, 206):
            sent = Sent(path, answer.status, answer.begin, asked.get("range"))
            self._sent.append(sent)
            await pour(answer, writer, reader, fault, sent)

    def _answer(self, name: str, path: str, asked: dict[str, str], at_cdn: bool, fault: Fault) -> Answer:
        if at_cdn and "authorization" in asked and "/cdn/" in path:
            return Answer(400, {"Content-Length": "0"})
        if fault.redirect is not None:
            to = fault.redirect.replace("{cdn}", self.cdn).replace("{self}", self.url)
            return Answer(302, {"Location": to, "Content-Length": "0"})
        if fault.status is not None:
            wait = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            return Answer(fault.status, {"Content-Length": "0", **wait})
        if fault.html:
            return Answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(_PAGE))}, _PAGE)
        file = self._files.get(name)
        if file is None:
            return _NO_FILE
        if fault.change:
            file.change(tell=not fault.keep_etag)
        content = self._hub.content(path, file)
        if fault.flip is not None:
            content = content[: fault.flip] + bytes([content[fault.flip] ^ 1]) + content[fault.flip + 1 :]
        return file_answer(content, file.etag, file.modified, asked, fault)

    def _next_fault(self, method: str) -> Fault:
        if method != "GET":
            return Fault()
        if self._script:
            return self._script.pop(0)
        return self._bad_luck(self._bad) if self._bad is not None else self._always

    def _bad_luck(self, luck: random.Random) -> Fault:
        """A bad network: most answers end early, in one way or another."""
        after = luck.randrange(50_000, 400_000)
        ways = [Fault(cut=after), Fault(cut=after), Fault(reset=after), Fault(stall=after), Fault(status=503)]
        return luck.choice(ways)

    def _control(self, body: dict[str, Any]) -> Answer:
        if "script" in body:
            self._script = [Fault(**fault) for fault in body["script"]]
        if "always" in body:
            self._always = Fault(**body["always"])
        if "bad" in body:
            self._bad = random.Random(body["bad"]) if body["bad"] is not None else None
        if "change" in body:
            self._files[body["change"]].change(tell=True)
        if body.get("reset"):
            self._sent, self._seen = [], []
        shown = {"sent": [asdict(sent) for sent in self._sent], "seen": self._seen, "left": len(self._script)}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(shown).encode())

    def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        length = {"Content-Length": str(len(answer.body))} if "Content-Length" not in answer.headers else {}
        writer.write(head_of(Answer(answer.status, {**answer.headers, **length}), Fault()) + answer.body)


async def _main(files: dict[str, File]) -> None:
    host = Host(files)
    servers = [await asyncio.start_server(host.serve, "127.0.0.1", 0) for _ in range(2)]
    host.url, host.cdn = ("http://{}:{}".format(*server.sockets[0].getsockname()) for server in servers)
    print(host.url, host.cdn, sep="\n", flush=True)
    await asyncio.Event().wait()


def _options() -> dict[str, File]:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.weights_host", description="A fake host of weights")
    parser.add_argument("--file", action="append", default=[], metavar="NAME=SIZE")
    pairs = (text.split("=") for text in parser.parse_args().file)
    return {name: File(name, int(size)) for name, size in pairs}


if __name__ == "__main__":
    asyncio.run(_main(_options()))
