#!/usr/bin/env bash
# Installs what the tests of networks, restarts and deployments take, unless it is already there, as Debian's packages: `ip` and
# `tc` (iproute2) and iptables for hosts in network namespaces, HAProxy before two gateways, faketime for clocks that
# differ, sshd and ssh for machines that are deployed to. Where one cannot be had it says why, and its tests are skipped.
set -uo pipefail

PATH=$PATH:/usr/sbin:/sbin

main() {
  package ip iproute2
  package tc iproute2
  package iptables iptables
  package haproxy haproxy
  package faketime faketime
  package sshd openssh-server
  package ssh openssh-client
}

# package PROGRAM PACKAGE: what goes wrong is told, and the others follow all the same. Debian would start some
# as services too, but for RUNLEVEL.
package() {
  local why
  command -v "$1" >/dev/null && return
  why=$(install "$2") && command -v "$1" >/dev/null && return
  echo "waypost: no $1 found, so the tests that take it are skipped; ${why:-$2 does not bring it}" >&2
}

install() {
  command -v apt-get >/dev/null || { echo "install $1"; return 1; }
  ((EUID == 0)) || { echo "run: apt-get install $1"; return 1; }
  echo "waypost: installing $1, which some tests take" >&2
  { apt-get update && RUNLEVEL=1 apt-get install --yes --no-install-recommends "$1"; } >/dev/null 2>&1 ||
    { echo "apt-get install $1 failed"; return 1; }
}

main
exit 0
