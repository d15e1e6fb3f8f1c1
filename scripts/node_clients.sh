#!/usr/bin/env bash
# Installs what the tests of the Node client need (tests/clients), unless it is already there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests/clients"

if ! command -v npm >/dev/null; then
  echo "waypost: no Node.js found, so the tests of the Node client are skipped; run: apt-get install nodejs npm" >&2
  exit 0
fi
# npm writes this file last.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  echo "waypost: installing the Node client" >&2
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
