"""A fake host of weights: a program of its own that serves files as a web server and as a hub, and can be told to err.

    python -m tests.fakes.weights_host --file NAME=SIZE [--file ...]

Its first line of output is its base URL, the second that of its CDN (another port, so another origin). It speaks HTTP
by hand, since no library would send what a broken server sends.

- `/files/NAME`: the file, by a server that knows ranges, strong validators and If-Range.
- `/OWNER/REPO/resolve/REVISION/NAME`: the hub. Large files lead to the CDN, which refuses whoever brings credentials.
  The owners `gated` (until `Authorization: Bearer good`), `private` and `nobody` are what they are called.
- `POST /_control`: `{"script": [FAULT, ...]}` for the next GETs of files, one each; `{"always": FAULT}` or
  `{"bad": SEED}` (a bad network; null ends it) for those after; `{"change": NAME}` gives a file other bytes;
  `{"reset": true}` forgets the counts.
- `GET /_control`: `{"sent": [{"path", "status", "begin", "asked", "sent"}, ...], "seen": [request, ...],
  "left": faults that are still to come}`.

A FAULT is an object with any of the names of faults.Fault.
"""
