#!/usr/bin/env bash
# Installs the relays that `make bench-relay` holds ours against, unless they are already there: nginx and HAProxy as
# Debian's packages, LiteLLM's proxy in a virtual environment of its own, Portkey's gateway from npm; the latter two in
# ~/.cache/waypost/peers, by version. Says in a line each which is there, and which cannot be had and why.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
litellm=1.104.5
portkey=1.15.2
peers=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/waypost/peers
log=$peers/setup.log

main() {
  mkdir -p "$peers"
  : >"$log"
  peer nginx package nginx nginx
  peer haproxy package haproxy haproxy
  peer litellm install_litellm "$litellm"
  peer portkey install_portkey "$portkey"
}

# peer NAME COMMAND ...: what goes wrong is told, and the others follow all the same.
peer() {
  local name=$1 told
  shift
  if told=$("$@" 2>>"$log"); then
    echo "$name: $told"
  else
    echo "$name: cannot be had: ${told:-$(tail -n 1 "$log" | cut -c 1-200)}; see $log"
  fi
}

# package PACKAGE PROGRAM: Debian would start it as a service too, but for RUNLEVEL.
package() {
  PATH=$PATH:/usr/sbin
  if ! command -v "$2" >/dev/null; then
    ((EUID == 0)) || { echo "run: apt-get install $1"; return 1; }
    { apt-get update && RUNLEVEL=1 apt-get install --yes --no-install-recommends "$1"; } >>"$log" 2>&1 || return 1
  fi
  command -v "$2"
}

install_litellm() {
  local folder=$peers/litellm-$1
  if [[ ! -f $folder/.done ]]; then
    rm -rf "$folder"
    "$python" -m venv "$folder" >>"$log" 2>&1 &&
      "$folder/bin/pip" install --quiet "litellm[proxy]==$1" >>"$log" 2>&1 &&
      touch "$folder/.done" || return 1
  fi
  ln -sfn "$folder" "$peers/litellm"
  echo "$folder/bin/litellm"
}

install_portkey() {
  local folder=$peers/portkey-$1
  command -v npm >/dev/null || { echo "run: apt-get install nodejs npm"; return 1; }
  if [[ ! -f $folder/.done ]]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    # With a later @hono/node-server it answers each stream with 500 (its issue 1389).
    echo '{"private": true, "overrides": {"@hono/node-server": "1.13.8"}}' >"$folder/package.json"
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error \
      "@portkey-ai/gateway@$1" >>"$log" 2>&1 && touch "$folder/.done" || return 1
  fi
  ln -sfn "$folder" "$peers/portkey"
  echo "$folder/node_modules/@portkey-ai/gateway/build/start-server.js"
}

main
