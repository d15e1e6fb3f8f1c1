"""The disk: a partition table, GRUB for BIOS and for UEFI, and the tree as ext4; no loop device, nothing mounted.

Every identity and date in it follows from the tree and the epoch, so that equal trees make equal disks.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.vm import boot
from deploy.vm.steps import StepFailed, run

_MIB = 1024 * 1024
_BLOCK_BYTES = 4096
_BIOS_AT, _EFI_AT, _ROOT_AT = 1, 2, 18  # MiB: the partitions' begins
_END_MIB = 1  # for the second partition table
_SPARE_MIB = 192  # free in a disk of the smallest size
_INODE_BYTES = 16_384  # of the file system, for each inode
_FEATURES = "^metadata_csum_seed,^orphan_file"  # what GRUB cannot read
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "urn:waypost:image")
_LABEL = "waypost-root"


@dataclass(frozen=True)
class Disk:
    """A disk to be made of `tree`: `size_mib` in all, its identities from `name`."""

    tree: Path
    size_mib: int
    name: str
    epoch: int

    @property
    def root_uuid(self) -> str:
        return self._id("root file system")

    def make(self, file: Path, work: Path, log: Path) -> None:
        """Write the raw disk. Raises StepFailed."""
        (self.tree / "boot/grub").mkdir(exist_ok=True)
        menu = self.tree / "boot/grub/grub.cfg"
        menu.write_text(boot.menu(self.root_uuid))
        for written in (menu, menu.parent, menu.parent.parent):
            os.utime(written, (self.epoch, self.epoch))
        with file.open("wb") as disk:
            disk.truncate(self.size_mib * _MIB)
        self._partition(file, log)
        self._put_bios(file, work, log)
        self._put_efi(file, work, log)
        self._put_root(file, work, log)

    def _partition(self, file: Path, log: Path) -> None:
        kinds = (
            (_BIOS_AT, _EFI_AT, "21686148-6449-6E6F-744E-656564454649", "bios"),
            (_EFI_AT, _ROOT_AT, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "efi"),
            (_ROOT_AT, self.size_mib - _END_MIB, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "root"),
        )
        lines = ["label: gpt", f"label-id: {self._id('disk')}"]
        for begin, end, kind, name in kinds:
            place = f"start={begin * _MIB // boot.SECTOR_BYTES}, size={(end - begin) * _MIB // boot.SECTOR_BYTES}"
            lines.append(f'{place}, type={kind}, uuid={self._id(name)}, name="{name}"')
        plan = file.with_suffix(".partitions")
        plan.write_text("\n".join(lines) + "\n")
        run("sh", "-c", 'sfdisk --quiet --no-tell-kernel "$1" <"$2"', "sh", str(file), str(plan), log=log)
        plan.unlink()

    def _put_bios(self, file: Path, work: Path, log: Path) -> None:
        at = _BIOS_AT * _MIB // boot.SECTOR_BYTES
        core = boot.placed_core(boot.bios_image(work, self.root_uuid, log), at)
        if len(core) > (_EFI_AT - _BIOS_AT) * _MIB:
            raise StepFailed(f"GRUB for BIOS takes {len(core)} bytes, more than its partition")
        with file.open("r+b") as disk:
            disk.write(boot.first_sector(boot.boot_code(), at))
            disk.seek(_BIOS_AT * _MIB)
            disk.write(core)

    def _put_efi(self, file: Path, work: Path, log: Path) -> None:
        """A FAT file system of one file, made beside the disk and copied in."""
        image = boot.efi_image(work, self.root_uuid, log)
        os.utime(image, (self.epoch, self.epoch))
        fat = work / "efi.fat"
        fat.unlink(missing_ok=True)
        volume = self._id("efi file system")[:8]
        size_kib = (_ROOT_AT - _EFI_AT) * 1024
        run("mkfs.vfat", "--invariant", "-i", volume, "-n", "EFI", "-C", str(fat), str(size_kib), log=log)
        dated = {"SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
        run("mmd", "-i", str(fat), "::EFI", "::EFI/BOOT", log=log, env=dated)
        run("mcopy", "-m", "-i", str(fat), str(image), "::EFI/BOOT/BOOTX64.EFI", log=log, env=dated)
        with file.open("r+b") as disk:
            disk.seek(_EFI_AT * _MIB)
            disk.write(fat.read_bytes())

    def _put_root(self, file: Path, work: Path, log: Path) -> None:
        fixed = {"E2FSPROGS_FAKE_TIME": str(self.epoch), "TZ": "UTC"}
        offset = _ROOT_AT * _MIB
        extended = f"offset={offset},hash_seed={self._id('hash seed')},lazy_itable_init=0,lazy_journal_init=0"
        words = ("-q", "-F", "-t", "ext4", "-b", str(_BLOCK_BYTES), "-i", str(_INODE_BYTES), "-m", "1", "-L", _LABEL)
        blocks = (self.size_mib - _ROOT_AT - _END_MIB) * _MIB // _BLOCK_BYTES
        of_tree = ("-O", _FEATURES, "-U", self.root_uuid, "-E", extended, "-d", str(self.tree))
        run("mke2fs", *words, *of_tree, str(file), str(blocks), log=log, env=fixed)
        self._date_inodes(file, offset, work, log, fixed)

    def _date_inodes(self, file: Path, offset: int, work: Path, log: Path, fixed: dict[str, str]) -> None:
        """mke2fs copies when each file was last read and changed, which nobody can set for good: the epoch instead."""
        script = work / "inodes.debugfs"
        with script.open("w") as commands:
            for name in _names(self.tree):
                for field in ("atime", "ctime", "crtime"):
                    commands.write(f'set_inode_field "{name}" {field} @{self.epoch}\n')
        run("debugfs", "-w", "-f", str(script), f"{file}?offset={offset}", log=work / "inodes.log", env=fixed)

    def _id(self, of: str) -> str:
        return str(uuid.uuid5(_NAMES, f"{self.name} {of}"))


def needed_mib(tree: Path) -> int:
    """The smallest disk for a tree: its blocks, what ext4 takes for itself, some room."""
    held = sum(-(-max(entry.lstat().st_size, 1) // _BLOCK_BYTES) * _BLOCK_BYTES for entry in _entries(tree))
    own = held // _INODE_BYTES * 256 + 64 * _MIB
    return (held + own) // _MIB + _SPARE_MIB + _ROOT_AT + _END_MIB


def to_qcow2(raw: Path, qcow2: Path, log: Path) -> None:
    """Compressed, for any QEMU of the last ten years; by one thread, so that equal disks make equal files."""
    run("qemu-img", "convert", "-m", "1", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2), log=log)


def _entries(tree: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(tree):
        yield from (Path(folder, name) for name in (*names, *files))


def _names(tree: Path) -> Iterator[str]:
    yield "/"
    for entry in sorted(_entries(tree)):
        yield f"/{entry.relative_to(tree)}"
