#!/usr/bin/env bash
# What this machine must have before anything is installed. Says what is missing, and what to do, in one line.
# Installs nothing. ARGS: `build` asks for what compiling llama.cpp or stable-diffusion.cpp takes too, `all` for the disk
# that every engine and demo model takes.
set -euo pipefail

python=${PYTHON:-python3}
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}

main() {
  local for_venv=1024
  need_python
  if [[ " $* " == *" build "* ]]; then
    need_tools
    need_disk "$cache" "${WAYPOST_SETUP_DISK_MIB:-1024}" "to build the engines"
  fi
  [[ " $* " != *" all "* ]] || for_venv=2048
  need_disk . "${WAYPOST_SETUP_DISK_MIB:-$for_venv}" "for .venv"
}

fail() {
  echo "waypost: $*" >&2
  exit 1
}

need_python() {
  command -v "$python" >/dev/null ||
    fail "no Python found as '$python'; run: apt-get install python3 python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or later is needed and '$python' is older; name another one: make PYTHON=python3.12"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments; run: apt-get install python3-venv"
}

need_tools() {
  local missing=() packages=()
  one_of "${CXX:-c++}" g++ clang++ || { missing+=("C++ compiler"); packages+=(g++); }
  for tool in cmake make patch; do
    one_of "$tool" || { missing+=("$tool"); packages+=("$tool"); }
  done
  if ((${#missing[@]})); then
    local names
    names=$(printf ', no %s' "${missing[@]}")
    fail "${names:2} found; run: apt-get install ${packages[*]}"
  fi
}

one_of() {
  local name
  for name in "$@"; do
    command -v "${name%% *}" >/dev/null && return 0
  done
  return 1
}

# need_disk DIRECTORY MIB PURPOSE; the directory itself may not exist yet.
need_disk() {
  local place=$1 need=$2 free
  while [[ ! -e $place && $place == */* ]]; do place=${place%/*}; done
  free=$(df -Pm "${place:-/}" | { read -r; read -r _ _ _ free _; echo "$free"; })
  ((free >= need)) ||
    fail "only $free MiB free under ${place:-/}, $need MiB are needed $3; free some space there"
}

main "$@"
