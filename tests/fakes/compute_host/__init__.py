"""Fake compute hosts of the Aleph network, and their list: a program of its own that keeps the rules of real ones.

    python -m tests.fakes.compute_host --api URL --machines DIR [--hosts N] [--gpu MODEL]

The first line on standard output is the URL of the list of hosts. Messages, balances and prices it asks of the node at
`--api`, as a real host does; who asks for an erasure is checked by eth_account and jwcrypto. A host has one GPU.

A machine that it starts is a folder (machine.py) with a real sshd that lets the message's own keys in, the image's own
`waypost-setup` behind it, and a real `waypost node serve`. What it does not have: a disk, a boot, systemd, a network of
its own. So its SSH is on a port of 127.0.0.1, which the host tells as a mapped port.

At run time: `POST /_control` at the list's address, with {"away": [hashes of hosts], "full": [...], "slow": [...]
(started, and never running)}; `GET /_control` counts what hosts have done. Faults: tests/fakes/holding.py.
"""
