"""GRUB for both kinds of firmware, made here and put where each looks: no boot loader is installed in the tree.

Debian keeps /vmlinuz and /initrd.img pointing at the newest kernel, so its menu never changes.
"""

from __future__ import annotations

import struct
from pathlib import Path

from deploy.vm.steps import run

_GRUB = Path("/usr/lib/grub")
_MODULES = (
    "part_gpt", "ext2", "fat", "normal", "configfile", "linux", "search", "search_fs_uuid", "serial", "terminal",
    "echo", "test", "ls", "cat", "reboot", "halt", "gzio", "minicmd", "all_video", "boot",
)  # fmt: skip
_BIOS_MODULES = ("biosdisk",)
_EFI_MODULES = ("efi_gop", "efi_uga")
SECTOR_BYTES = 512
# Places in boot.img and diskboot.img, as GRUB's own set-up fills them in (include/grub/i386/pc/boot.h).
_KERNEL_SECTOR, _DRIVE_CHECK, _CODE_END, _BLOCK_LIST = 0x5C, 0x66, 440, 0x1F4
_NO_OPERATION = b"\x90\x90"


def menu(root_uuid: str) -> str:
    """grub.cfg: the newest kernel, the one before it, both consoles."""
    options = f"root=UUID={root_uuid} ro console=tty0 console=ttyS0,115200n8"
    entries = "".join(
        f'menuentry "{title}" {{\n  linux /vmlinuz{old} {options}\n  initrd /initrd.img{old}\n}}\n'
        for title, old in (("Waypost", ""), ("Waypost, the kernel before", ".old"))
    )
    serial = "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n"
    return f"{serial}set timeout=1\nset default=0\n{_search(root_uuid)}{entries}"


def bios_image(work: Path, root_uuid: str, log: Path) -> bytes:
    """core.img, for the boot partition."""
    return _image("i386-pc", _BIOS_MODULES, work, root_uuid, log).read_bytes()


def efi_image(work: Path, root_uuid: str, log: Path) -> Path:
    """The file that firmware starts from a disk that it knows nothing of: EFI/BOOT/BOOTX64.EFI."""
    return _image("x86_64-efi", _EFI_MODULES, work, root_uuid, log)


def first_sector(boot: bytes, core_at: int) -> bytes:
    """boot.img as it stands at the disk's begin, up to the partition table: it loads the sector `core_at`."""
    code = bytearray(boot[:_CODE_END])
    struct.pack_into("<Q", code, _KERNEL_SECTOR, core_at)
    code[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NO_OPERATION  # firmware that names a wrong drive
    return bytes(code)


def placed_core(core: bytes, at: int) -> bytes:
    """core.img, told in its first sector that the rest follows it on the disk."""
    placed = bytearray(core)
    sectors = -(-len(core) // SECTOR_BYTES) - 1
    (_, _, segment) = struct.unpack_from("<QHH", placed, _BLOCK_LIST)
    struct.pack_into("<QHH", placed, _BLOCK_LIST, at + 1, sectors, segment)
    return bytes(placed)


def boot_code() -> bytes:
    return (_GRUB / "i386-pc/boot.img").read_bytes()


def _search(root_uuid: str) -> str:
    return f"search --no-floppy --fs-uuid --set=root {root_uuid}\n"


def _image(kind: str, modules: tuple[str, ...], work: Path, root_uuid: str, log: Path) -> Path:
    begin = work / "begin.cfg"
    begin.write_text(f"{_search(root_uuid)}set prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n")
    made = work / f"grub-{kind}"
    words = ("-O", kind, "-d", str(_GRUB / kind), "-c", str(begin), "-p", "/boot/grub", "-o", str(made))
    run("grub-mkimage", *words, *_MODULES, *modules, log=log)
    return made
