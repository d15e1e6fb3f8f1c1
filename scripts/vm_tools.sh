#!/usr/bin/env bash
# Installs what building and booting the VM image take, unless it is already there, as Debian's packages. Says what is
# missing and ends with 1 where it cannot be had.
set -uo pipefail

PATH=$PATH:/usr/sbin:/sbin

# PROGRAM PACKAGE, or FILE PACKAGE where a package brings no program
needs=(
  debootstrap debootstrap
  mke2fs e2fsprogs
  sfdisk fdisk
  mkfs.vfat dosfstools
  mcopy mtools
  grub-mkimage grub-common
  /usr/lib/grub/i386-pc/boot.img grub-pc-bin
  /usr/lib/grub/x86_64-efi/normal.mod grub-efi-amd64-bin
  qemu-img qemu-utils
  qemu-system-x86_64 qemu-system-x86
  /usr/share/OVMF/OVMF_CODE.fd ovmf
  genisoimage genisoimage
  ssh openssh-client
)

main() {
  local missing=() at
  for ((at = 0; at < ${#needs[@]}; at += 2)); do
    there "${needs[at]}" || missing+=("${needs[at + 1]}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || fail "install ${missing[*]}"
  ((EUID == 0)) || fail "run: apt-get install ${missing[*]}"
  echo "waypost: installing ${missing[*]}, which the VM image takes" >&2
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
    >/dev/null 2>&1 || fail "apt-get install ${missing[*]} failed"
}

there() { [[ $1 == /* ]] && [[ -e $1 ]] || command -v "$1" >/dev/null; }

fail() {
  echo "waypost: $1" >&2
  exit 1
}

main
