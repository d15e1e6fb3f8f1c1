"""The machine's systemctl: passes its verb on to the machine, and ends as systemctl does. Standard library alone."""

import socket
import sys

door, verb = sys.argv[1:3]
with socket.socket(socket.AF_UNIX) as machine:
    machine.connect(door)
    machine.sendall(verb.encode() + b"\n")
    active = machine.recv(64) == b"active"
sys.exit(0 if active else 3)
