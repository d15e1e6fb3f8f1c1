#!/usr/bin/env bash
# Installs what the tests with hosts in network namespaces take, unless it is already there: `ip` and `tc` (iproute2)
# and iptables, as Debian's packages. Where they cannot be had it says why, and those tests are skipped.
set -uo pipefail

PATH=$PATH:/usr/sbin:/sbin

main() {
  package ip iproute2
  package tc iproute2
  package iptables iptables
}

# package PROGRAM PACKAGE: what goes wrong is told, and the others follow all the same.
package() {
  local why
  command -v "$1" >/dev/null && return
  why=$(install "$2") && command -v "$1" >/dev/null && return
  echo "waypost: no $1 found, so the tests of failing networks are skipped; ${why:-$2 does not bring it}" >&2
}

install() {
  command -v apt-get >/dev/null || { echo "install $1"; return 1; }
  ((EUID == 0)) || { echo "run: apt-get install $1"; return 1; }
  echo "waypost: installing $1, which the tests of failing networks take" >&2
  { apt-get update && apt-get install --yes --no-install-recommends "$1"; } >/dev/null 2>&1 ||
    { echo "apt-get install $1 failed"; return 1; }
}

main
exit 0
