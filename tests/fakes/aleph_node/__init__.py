"""A fake Aleph node: a program of its own that keeps the rules of a real one, and can be told to break them.

    python -m tests.fakes.aleph_node [--port 0] [--db FILE] [--peer URL]... [--load FILE [--trust-load]]
                                     [--set NAME=VALUE]...

The first line on standard output is its base URL; the next one is the registry URL. It needs no network and shares
no code with the registry: signatures are checked with eth_account, contents with aleph_message, as pyaleph does it.

Where an answer may surprise: only `"sync": true` gets 200 or 422; without it a node answers 202 to all that is well
formed, and `GET /api/v0/messages/{hash}` says later how it went. A message that is not well formed gets 422 and
a bare text.

Machines and files paid by credits are priced and refused as on a real node (credits.py). Not here: other ways of
payment, chains that are not Ethereum's, IPFS, confirmations on a chain (nothing is ever `confirmed`).

How to break it at run time: `POST /_control` with a JSON object, `GET /_control` for counters (see control.py for
actions and misbehaviour.py for every setting). Neither they nor what peers send each other suffer from the
misbehaviour.
"""
