#!/usr/bin/env bash
# A chain of one's own to try an EVM registry on: anvil on 127.0.0.1:8545, until Ctrl-C; it forgets all then.
# .chain/payer.key is anvil's first well-known key: it pays there, and is worth nothing anywhere else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/node_packages.sh chain
anvil=$(compgen -G 'tests/chain/node_modules/@foundry-rs/anvil-*/bin/anvil' | head -n 1) || {
  echo "waypost: anvil is not installed; install Node.js and npm, and try again" >&2
  exit 1
}
mkdir -p .chain
(umask 077 && echo ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80 >.chain/payer.key)
echo "waypost: a chain on http://127.0.0.1:8545, paid with .chain/payer.key; put a registry on it with"
echo "  .venv/bin/waypost registry create --registry evm+http://127.0.0.1:8545 --payer-key .chain/payer.key"
exec "$anvil" --host 127.0.0.1 --port 8545 --quiet "$@"
