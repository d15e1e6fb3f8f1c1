#!/usr/bin/env bash
# Installs what building and running the container images without a container engine takes, unless it is already there, as
# Debian's packages. Says what is missing and ends with 1 where it cannot be had.
set -uo pipefail

PATH=$PATH:/usr/sbin:/sbin

needs=( # PROGRAM PACKAGE
  buildah buildah
  newuidmap uidmap
  debootstrap debootstrap
  ip iproute2
  iptables iptables
  tc iproute2
  unshare util-linux
)

main() {
  local missing=() at
  for ((at = 0; at < ${#needs[@]}; at += 2)); do
    command -v "${needs[at]}" >/dev/null || missing+=("${needs[at + 1]}")
  done
  ((EUID == 0)) || fail "images are built and run as root here; run it as root"
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || fail "install ${missing[*]}"
  echo "waypost: installing ${missing[*]}, which the container images take" >&2
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
    >/dev/null 2>&1 || fail "apt-get install ${missing[*]} failed"
}

fail() {
  echo "waypost: $1" >&2
  exit 1
}

main
