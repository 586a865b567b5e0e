# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smallest guest: a disk of two sectors. The BIOS loads the first one, a program, which reads a
text from the second one, counts the boot up in it, writes it back, and prints it on the serial
console. What appears there was read from the guest's own disk, and a later boot shows that the
write arrived."""

import os
import textwrap

SECTOR = 512

# 16-bit code, loaded at 0x7c00 with the number of the boot disk in dl; the text goes to 0x7e00.
_PROGRAM = bytes.fromhex(
    "fa"        # cli
    "31c0"      # xor ax, ax
    "8ed8"      # mov ds, ax
    "8ec0"      # mov es, ax
    "8ed0"      # mov ss, ax
    "bc007c"    # mov sp, 0x7c00
    "fb"        # sti
    "b80102"    # mov ax, 0x0201      read one sector ...
    "bb007e"    # mov bx, 0x7e00      ... to here ...
    "b90200"    # mov cx, 2           ... cylinder 0, the second sector ...
    "b600"      # mov dh, 0           ... of head 0
    "cd13"      # int 0x13
    "8a1eff7f"  # mov bl, [0x7fff]    its last byte says where the digit of the counter is
    "b77e"      # mov bh, 0x7e
    "fe07"      # inc byte [bx]
    "b80103"    # mov ax, 0x0301      write it back
    "bb007e"    # mov bx, 0x7e00
    "b90200"    # mov cx, 2
    "b600"      # mov dh, 0
    "cd13"      # int 0x13
    "be007e"    # mov si, 0x7e00
    # next:
    "ac"        # lodsb
    "84c0"      # test al, al
    "7411"      # jz halt
    "88c4"      # mov ah, al
    "bafd03"    # mov dx, 0x3fd       line status of the first serial port
    # wait:
    "ec"        # in al, dx
    "a820"      # test al, 0x20       may it take a byte?
    "74fb"      # jz wait
    "88e0"      # mov al, ah
    "b2f8"      # mov dl, 0xf8
    "ee"        # out dx, al
    "ebea"      # jmp next
    # halt:
    "f4"        # hlt
    "ebfd"      # jmp halt
)


def disk(marker):
    """What to write at the start of a disk; its guest prints `marker`, " (boot N)" and a new line.
    N is one digit and starts at 1."""
    text = f"{marker} (boot ".encode()
    assert len(text) < 256, "the counter must be in reach of one byte"
    sector = (text + b"0)\r\n\0").ljust(SECTOR - 1, b"\0") + bytes([len(text)])
    program = _PROGRAM.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
    assert len(program) == len(sector) == SECTOR
    return program + sector


def domain_xml(name, path, image_format, secret, console):
    """A guest under TCG, with a disk whose LUKS passphrase is the value of the secret `secret` (a
    uuid), and its serial console written to the file `console`."""
    return textwrap.dedent(f"""\
        <domain type='qemu'>
          <name>{name}</name>
          <memory unit='MiB'>32</memory>
          <os>
            <type arch='x86_64' machine='pc'>hvm</type>
          </os>
          <features>
            <acpi/>
          </features>
          <devices>
            <disk type='file' device='disk'>
              <driver name='qemu' type='{image_format}'/>
              <source file='{path}'>
                <encryption format='luks'>
                  <secret type='passphrase' uuid='{secret}'/>
                </encryption>
              </source>
              <target dev='vda' bus='virtio'/>
            </disk>
            <serial type='file'>
              <source path='{console}'/>
            </serial>
            <memballoon model='none'/>
          </devices>
        </domain>
        """)


def volume_xml(name, secret, capacity="4"):
    """An encrypted qcow2 volume for virsh vol-create; `capacity` in MiB."""
    return textwrap.dedent(f"""\
        <volume>
          <name>{name}</name>
          <capacity unit='MiB'>{capacity}</capacity>
          <target>
            <format type='qcow2'/>
            <encryption format='luks'>
              <secret type='passphrase' uuid='{secret}'/>
            </encryption>
          </target>
        </volume>
        """)


def make_luks(machine, path, passphrase, content):
    """A LUKS volume in the file `path` of that host, with `content` at its start. Made by
    cryptsetup: qemu-img's own formatting takes seconds, and fails at random where others are busy
    on the machine."""
    machine.write(path, b"")
    os.truncate(machine.path(path), 4 << 20)
    machine.run(["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks1",
                 "--pbkdf-force-iterations", "1000", "--key-file", "-", path],
                input=passphrase, text=False).check()
    write_start(machine, path, f"driver=luks,key-secret=key,file.filename={path}", passphrase,
                content)


def write_start(machine, path, options, passphrase, content):
    """Writes `content` to the start of an encrypted image, by stock qemu-img. The passphrase goes
    through a pipe."""
    machine.write(path + ".content", content)
    machine.run(["qemu-img", "convert", "-n", "--object", "secret,id=key,file=/dev/stdin",
                 "-f", "raw", "--target-image-opts", path + ".content", options],
                input=passphrase, text=False).check()
    os.unlink(machine.path(path + ".content"))
