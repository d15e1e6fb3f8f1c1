#!/usr/bin/env bash
# Sets up .venv-gpu with a llama-server built with CUDA, and runs tests/gpu with it. Where there is no NVIDIA GPU it says
# so in one line, and that is no failure. ARGS go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
  local why
  if why=$(no_gpu); then
    echo "waypost: the GPU tests did not run: no NVIDIA GPU here ($why)"
    return
  fi
  export WAYPOST_CUDA=1 WAYPOST_VENV=.venv-gpu
  scripts/environment.sh dev
  # So that a GPU which the tests cannot use fails them, where `make test` skips them.
  WAYPOST_GPU_TEST=1 exec "$WAYPOST_VENV/bin/python" -m pytest -m gpu tests/gpu "$@"
}

# Prints why, if there is none.
no_gpu() {
  local listed
  command -v nvidia-smi >/dev/null || { echo "nvidia-smi is not found"; return 0; }
  listed=$(timeout 30 nvidia-smi -L 2>&1 </dev/null) || { echo "nvidia-smi -L fails: ${listed%%$'\n'*}"; return 0; }
  [[ $listed == *"GPU "[0-9]*": "* ]] && return 1
  echo "nvidia-smi -L lists none"
}

main "$@"
