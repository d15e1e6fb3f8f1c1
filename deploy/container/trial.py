"""Make what the trial of docker-compose.yml takes, and nobody knew before: `python -m deploy.container.trial`.

It puts a registry on the chain, makes the operator's key and the nodes', and signs the delegations.
Everything is done by `waypost` commands, printed as they are run. Run again it keeps all keys, puts the registry on a
chain that has lost it, and renews the delegations. Not here: anything for real use, where the operator's key is on no
machine of a node (docs/operators.md).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# The first accounts of every anvil: rich there, worth nothing anywhere else. One each, since they pay at once.
_PAYERS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)
_DELEGATED_DAYS = 30


class StepFailed(Exception):
    """A command that did not do what it was asked for; what it said is on stderr."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do it all. Returns the exit status."""
    options = parser().parse_args(argv)
    if len(options.node) >= len(_PAYERS):
        parser().error(f"--node: {len(_PAYERS) - 1} at most")
    try:
        _make(options)
    except StepFailed as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Its options."""
    made = argparse.ArgumentParser(description="keys, registry and delegations of a trial")
    made.add_argument("--chain", required=True, metavar="URL", help="the chain: evm+http://HOST:PORT")
    made.add_argument("--operator", required=True, type=Path, metavar="DIR", help="folder of the operator's key")
    made.add_argument("--gateway", required=True, type=Path, metavar="DIR", help="folder of the gateway's options")
    made.add_argument(
        "--node", action="append", default=[], metavar="URL=DIR", help="a node's URL, and its folder (repeatable)"
    )
    return made


def _make(options: argparse.Namespace) -> None:
    """Raises StepFailed."""
    registry = _registry(options.chain, options.operator)
    operator_key = options.operator / "operator.key"
    if not operator_key.exists():
        _waypost("key", "new", str(operator_key))
    operator = _address(_waypost("key", "show", str(operator_key)))
    for payer, node in zip(_PAYERS[1:], options.node, strict=False):
        url, _, folder = node.partition("=")
        _node(Path(folder), url, registry, payer, operator_key)
    _write(options.gateway / "waypost.toml", toml("gateway", registry=[registry], trust=[operator]))


def _registry(chain: str, folder: Path) -> str:
    """The registry's URL: the one that was made before, while it is there, else a new one."""
    kept = folder / "registry.url"
    if kept.exists() and _there(url := kept.read_text().strip()):
        return url
    payer = folder / "payer.key"
    _write(payer, _PAYERS[0] + "\n")
    url = _waypost("registry", "create", "--registry", chain, "--payer-key", str(payer)).splitlines()[-1]
    _write(kept, url + "\n")
    return url


def _there(registry: str) -> bool:
    return _run("registry", "list", "--registry", registry).returncode == 0


def _node(folder: Path, url: str, registry: str, payer: str, operator_key: Path) -> None:
    """The node's keys, its delegation, and those of its options that are not in docker-compose.yml."""
    tls_key, payer_key = folder / "tls.key", folder / "payer.key"
    keys = json.loads(_waypost("node", "keys", "--state", str(folder), "--tls-key", str(tls_key), "--public-url", url))
    _waypost(
        "registry", "delegate", keys["delegate"], "--operator-key", str(operator_key), f"--node={keys['node']}",
        "--days", str(_DELEGATED_DAYS), "--out", str(folder / "delegation.json"),
    )  # fmt: skip
    _write(payer_key, payer + "\n")
    _write(folder / "waypost.toml", toml("node", registry=[registry], public_url=url))


def _address(shown: str) -> str:
    """That of a wallet, from what `key show` prints. Raises StepFailed."""
    found = re.search(r"\b0x[0-9a-f]{40}\b", shown)
    if found is None:
        raise StepFailed("waypost key show told no address")
    return found[0]


def toml(part: str, **options: str | list[str]) -> str:
    """A table of strings and lists of strings, which JSON writes as TOML does."""
    return "\n".join([f"[{part}]", *(f"{name} = {json.dumps(value)}" for name, value in options.items()), ""])


def _write(file: Path, text: str) -> None:
    """For this user alone, and never half."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)


def _waypost(*words: str) -> str:
    """What a command printed. Raises StepFailed."""
    print("waypost", *words, flush=True)
    done = _run(*words)
    if done.returncode:
        print(done.stderr, file=sys.stderr, end="")
        raise StepFailed(f"waypost {' '.join(words[:2])} failed with status {done.returncode}")
    return done.stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    command = [sys.executable, "-m", "waypost", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


if __name__ == "__main__":
    sys.exit(main())
