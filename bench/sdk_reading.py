"""The same messages read through aleph-sdk-python, which verifies none of them.

`python -m bench.sdk_reading ORIGIN CHANNEL` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aleph.sdk.client.http import AlephHttpClient
from aleph.sdk.query.filters import MessageFilter

from bench.process import cpu_s, memory_mib

PAGE = 200


async def main(origin: str, channel: str) -> None:
    async with AlephHttpClient(api_server=origin) as client:
        wall, cpu, memory = time.perf_counter(), cpu_s(), memory_mib()
        wanted = MessageFilter(channels=[channel], content_types=["waypost"])
        found, page = [], 1
        while answer := (await client.get_messages(page_size=PAGE, page=page, message_filter=wanted)).messages:
            found += answer
            page += 1
        figures = {"seconds": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "adverts": len(found)}
        print(json.dumps({**figures, "mib": memory_mib() - memory, "peak_mib": memory_mib(field="VmHWM")}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
