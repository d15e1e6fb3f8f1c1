#!/usr/bin/env bash
# Installs what the tests need from npm, unless it is already there: the Node client (tests/clients), and a chain and
# its compiler (tests/chain). ARGS: the folders under tests to set up; all of them if none is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests"

if ! command -v npm >/dev/null; then
  echo "waypost: no Node.js found, so the tests of the Node client and of chains are skipped; run: apt-get install nodejs npm" >&2
  exit 0
fi
[[ $# -gt 0 ]] || set -- clients chain
for folder in "$@"; do
  # npm writes this file last.
  if [[ ! $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ]]; then
    echo "waypost: installing what tests/$folder needs from npm" >&2
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    touch "$folder/node_modules/.package-lock.json"
  fi
done
