"""Checks of a running machine from within: what listens, what the firewall lets in, how its unit is hardened."""

from __future__ import annotations

import re

from tests.vm.operator import Operator

MOST_EXPOSED = 3.0
# A second network on this machine, behind a cable: what it reaches has passed the firewall, which lets `lo` in. A
# listener on a port of its own shows that a closed port is closed though somebody listens.
_SCAN = """
import resource, select, socket, subprocess, sys
def sh(*w): subprocess.run(w, check=True)
sh("ip", "netns", "add", "outside")
sh("ip", "link", "add", "inner", "type", "veth", "peer", "name", "outer", "netns", "outside")
sh("ip", "addr", "add", "192.0.2.1/30", "dev", "inner")
sh("ip", "link", "set", "inner", "up")
sh("ip", "netns", "exec", "outside", "ip", "addr", "add", "192.0.2.2/30", "dev", "outer")
sh("ip", "netns", "exec", "outside", "ip", "link", "set", "outer", "up")
scan = '''
import selectors, socket, time
open_ports = []
for first in range(1, 65536, 800):
    waiting = selectors.DefaultSelector()
    for port in range(first, min(first + 800, 65536)):
        s = socket.socket(); s.setblocking(False); s.connect_ex(("192.0.2.1", port))
        waiting.register(s, selectors.EVENT_WRITE, port)
    end = time.monotonic() + WAIT
    while (left := end - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                open_ports.append(key.data)
            waiting.unregister(key.fileobj); key.fileobj.close()
    for key in list(waiting.get_map().values()):
        key.fileobj.close()
    waiting.close()
print(*sorted(open_ports))
'''.replace("WAIT", sys.argv[1])
listener = socket.create_server(("0.0.0.0", 8080))
try:
    sh("ip", "netns", "exec", "outside", "python3", "-c", scan)
finally:
    sh("ip", "netns", "del", "outside")
"""
_CLIENT_PORTS = {"68", "546"}  # DHCP's answers, to this machine as a client


async def check(operator: Operator) -> list[str]:
    """A line for each thing that holds; AssertionError for what does not."""
    return [
        await _listening(operator),
        await _let_in(operator),
        await _hardened(operator),
        await _accounts(operator),
        await _units(operator),
    ]


async def _listening(operator: Operator) -> str:
    lines = [line.split() for line in (await operator.ssh("ss -H -lntu")).splitlines()]
    ports = {(line[0], line[4].rpartition(":")[2]) for line in lines}
    others = {(kind, port) for kind, port in ports if not (kind == "udp" and port in _CLIENT_PORTS)}
    assert others == {("tcp", "22"), ("tcp", "443")}, lines
    return "listening sockets: tcp 22, tcp 443, nothing else"


async def _let_in(operator: Operator, wait_s: float = 1.0) -> str:
    found = (await operator.ssh(f"python3 - {wait_s}", stdin=_SCAN.encode())).split()
    assert found == ["22", "443"], found
    return "all 65,535 ports scanned through the firewall, with a listener on 8080 too: 22 and 443 are open"


async def _hardened(operator: Operator) -> str:
    said = await operator.ssh("systemd-analyze --no-pager security waypost.service")
    found = re.search(r"Overall exposure level for waypost.service: ([0-9.]+)", said)
    assert found and float(found[1]) <= MOST_EXPOSED, said[-500:]
    return f"systemd-analyze security waypost.service: {found[1]} (at most {MOST_EXPOSED})"


async def _accounts(operator: Operator) -> str:
    running = (await operator.ssh("ps -o user= -C waypost,llama-server | sort -u")).split()
    assert running == ["waypost"], running
    effective = await operator.ssh("sshd -T | grep -E '^(passwordauthentication|permitrootlogin|kbdint)' | sort")
    told = dict(line.split() for line in effective.splitlines())
    assert told["passwordauthentication"] == "no" and told["permitrootlogin"] in (
        "prohibit-password", "without-password",
    ), told  # fmt: skip
    modes = await operator.ssh("cd /var/lib/waypost && stat -c '%a %U %n' . *.key")
    assert modes.splitlines() == [
        "700 waypost .", "600 waypost delegate.key", "600 waypost node.key", "600 waypost tls.key",
    ], modes  # fmt: skip
    return "agent and engine run as waypost; its keys are 0600; SSH takes keys only"


async def _units(operator: Operator) -> str:
    failed = await operator.ssh("systemctl --failed --plain --no-legend")
    assert failed == "", failed
    timers = await operator.ssh("systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer unattended-upgrades")
    assert timers.split() == ["enabled"] * 3, timers
    grown = int(await operator.ssh("df --output=size -m / | tail -1"))
    return f"no unit has failed; security updates are on; the file system has grown to {grown} MiB"
