#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power failures and kills while volumes are created and deleted. The host's folders and the volume
group lie on a dm-flakey device that, from a moment on, says that it has written and has not: what
is not flushed by then is gone, and what is flushed later as well. The state afterwards is that of
some moment before: no half volume, no lost key."""

import json
import random
import re
import unittest

import host
import taptest
import vmhost

# Where in the work the power fails: the sixths of its usual duration, and a bit at random.
_MOMENTS = 6

# On a 512 MiB disk: dm-flakey below, on it a volume group, in that the file system of the host's
# folders and the logical volumes of the pool.
_PREPARE = r"""
table() { echo "0 $(blockdev --getsz /dev/disk/by-serial/data) flakey \
/dev/disk/by-serial/data 0 $1"; }
case $1 in
make)
    modprobe dm-flakey
    dmsetup create flakey --table "$(table '600 0')"
    vgcreate -q vg /dev/mapper/flakey
    lvcreate -q -y -Wn -L 128m -n host vg
    mkfs.ext4 -q /dev/vg/host
    ;;
fail)
    # Without a flush of the file system: the power does not wait.
    dmsetup suspend --nolockfs --noflush flakey
    dmsetup load flakey --table "$(table '0 600 1 drop_writes')"
    dmsetup resume flakey
    ;;
return)
    for name in $(dmsetup ls | awk '/^virtcrypt-/{print $1}'); do dmsetup remove --retry "$name"; done
    losetup -D
    umount -l /etc/libvirt /var/lib/libvirt 2>/dev/null || true
    umount /mnt
    vgchange -q -an vg
    dmsetup suspend --nolockfs --noflush flakey
    dmsetup load flakey --table "$(table '600 0')"
    dmsetup resume flakey
    # What the kernel remembers is not what the disk has.
    blockdev --flushbufs /dev/mapper/flakey
    echo 3 >/proc/sys/vm/drop_caches
    vgchange -q -ay vg
    ;;
esac
case $1 in
make | return)
    mount /dev/vg/host /mnt
    mkdir -p /mnt/etc /mnt/lib/images
    mount -o bind /mnt/etc /etc/libvirt
    mount -o bind /mnt/lib /var/lib/libvirt
    ;;
esac
"""
