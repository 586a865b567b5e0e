#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares what we make of volumes' XML with what libvirt makes of it.

libvirt's test driver parses and formats volumes with libvirt's own code and makes none; a real
libvirtd in a private host shows what the XML of volumes that exist looks like.
usage: test-conf-volume_def-libvirtd.py VOLUME-XML-ANSWERS
"""

import os
import random
import re
import subprocess
import sys
import unittest

import libvirt

import host
import taptest

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ""
UUID = "d9a3c9a0-1111-4222-8333-444455556666"
SECRET = f"<secret type='passphrase' uuid='{UUID}'/>"
PUT = """    <encryption format='luks'>
      <secret type='passphrase' usage='put'/>
    </encryption>
"""


def ours(request, documents):
    """Of each document: what we write, or None if we refuse it."""
    asked = b"".join(b"%s %d\n" % (request, len(xml.encode())) + xml.encode() for xml in documents)
    output = subprocess.run([PROGRAM], input=asked, stdout=subprocess.PIPE, check=True,
                            timeout=60).stdout
    answers = []
    while output:
        head, output = output.split(b"\n", 1)
        kind, length = head.split()
        answers.append(output[:int(length)].decode() if kind == b"ok" else None)
        output = output[int(length):]
    return answers


class Libvirt:
    """libvirt's parser and formatter: its test driver, in this process."""

    def __init__(self):
        libvirt.registerErrorHandler(lambda *_: None, None)
        self._connection = libvirt.open("test:///default")
        self._pool = self._connection.storagePoolLookupByName("default-pool")

    def dump(self, xml):
        """What libvirt writes of `xml`, or None if it refuses it."""
        try:
            volume = self._pool.createXML(xml, 0)
        except libvirt.libvirtError as error:
            # Read and found right, but larger than the pool.
            return "too large" if "Not enough free space" in str(error) else None
        text = volume.XMLDesc(0)
        volume.delete(0)
        return text

    def close(self):
        self._connection.close()


def volume(inside, name="<name>a</name>", attributes=""):
    return f"<volume{attributes}>{name}{inside}</volume>"


def target(inside):
    return volume(f"<capacity>1</capacity><target>{inside}</target>")


def listed_documents():
    yield from (volume(f"<capacity unit='{unit}'>1</capacity>") for unit in (
        "b", "B", "byte", "bytes", "Bytes", "k", "K", "KB", "kb", "KiB", "kIb", "m", "MB", "mib",
        "g", "G", "GB", "t", "P", "EiB", "EB", "e", "Z", "ZB", "KBi", "x", "", " k", "iB", "kk"))
    yield from (volume(f"<capacity>{text}</capacity>") for text in (
        "-1", " 5 ", "5k", "0x10", "010", "1.5", "+7", "18446744073709551615",
        "18446744073709551616", "9223372036854775807", "9223372036854775808", "5 6", " ", "\n7"))
    yield from (volume(f"<capacity unit='{unit}'>{number}</capacity>") for unit, number in (
        ("E", 7), ("E", 8), ("E", 16), ("K", 9007199254740991), ("K", 9007199254740992)))
    yield from (volume("<capacity>5</capacity>" + rest) for rest in (
        "<allocation>9</allocation>", "<allocation>x</allocation>", "<allocation/>",
        "<allocation unit='M'>0</allocation>", "<capacity>7</capacity>", "<physical>x</physical>",
        "<source><device path='/x'/></source>", "<foo/>", "text", "<key>k</key>",
        "<backingStore/>", "<backingStore><path/></backingStore>",
        "<backingStore><path>/b</path></backingStore>",
        "<backingStore><path>/b</path><format type='qcow2'/></backingStore>",
        "<backingStore><path>/b</path><format type='foo'/></backingStore>"))
    yield from (volume("<capacity>5</capacity>", attributes=f" type='{kind}'") for kind in (
        "file", "block", "foo", ""))
    yield from (volume("<capacity>5</capacity>", name=name) for name in (
        "", "<name/>", "<name> a </name>", "<name>a</name><name>b</name>",
        "<name>a&amp;&lt;€&apos;</name>"))
    yield from (target(text) for text in (
        "", "<path>/x</path>", "<path/>", "<format/>", "<format type=''/>", "<format type='foo'/>",
        "<format type='qcow2'/><format type='raw'/>", "<foo/>", "<nocow/>",
        "<compat>0.10</compat>", "<compat>1.1</compat>", "<compat>3</compat>", "<compat/>",
        "<compat>9.9</compat>", "<compat>.1</compat>", "<compat>1.</compat>",
        "<features><lazy_refcounts/></features>", "<features><foo/></features>",
        "<features><lazy_refcounts/><extended_l2/></features>", "<features/>",
        "<compat>0.10</compat><features><lazy_refcounts/></features>",
        "<clusterSize>65536</clusterSize>", "<clusterSize>0</clusterSize>",
        "<clusterSize unit='k'>3</clusterSize>", "<clusterSize>x</clusterSize>"))
    yield from (target(f"<format type='{kind}'/>") for kind in (
        "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow",
        "qcow", "qcow2", "qed", "vmdk", "luks", "none", "unknown", "ext4", "auto", "RAW", "vhdx"))
    yield from (target(f"<permissions>{text}</permissions>") for text in (
        "", "<mode/>", "<mode>644</mode>", "<mode>0999</mode>", "<mode>07777</mode>",
        "<mode>-1</mode>", "<mode> 0600 </mode>", "<owner>0</owner><group>0</group>",
        "<owner>-1</owner>", "<owner>-2</owner>", "<owner>x</owner>", "<owner>4294967295</owner>",
        "<owner>4294967296</owner>", "<owner/>", "<group>7</group>", "<label/>",
        "<label>l&amp;</label>"))
    yield from (target(f"<encryption format='{kind}'{engine}>{secret}</encryption>")
                for kind in ("default", "qcow", "luks", "luks2", "foo", "")
                for engine in ("", " engine='qemu'", " engine='librbd'", " engine='default'",
                               " engine='foo'", " engine=''")
                for secret in ("", SECRET))
    yield from (target(f"<encryption format='luks'>{text}</encryption>") for text in (
        "<secret type='passphrase' usage='/a&amp;&apos;'/>", "<secret type='passphrase'/>",
        f"<secret type='passphrase' uuid='{UUID}' usage='u'/>", f"<secret uuid='{UUID}'/>",
        f"<secret type='foo' uuid='{UUID}'/>", "<secret type='passphrase' uuid='zz'/>",
        "<secret type='passphrase' uuid=''/>", SECRET.upper().lower(),
        "<cipher name='aes' size='256'/>", "<cipher name='aes'/>", "<cipher size='256'/>",
        "<cipher name='aes' size='x'/>", "<cipher name='aes' size='-1'/>",
        "<cipher name='aes' size=' 256 '/>", "<cipher name='aes' size='+256'/>",
        "<cipher name='aes' size='0x100'/>", "<cipher name='aes' size='4294967296'/>",
        "<cipher name='aes' size='256' mode='cbc' hash='sha256'/><ivgen name='plain64' hash='x'/>",
        "<cipher name='aes' size='256' mode='xts'/><ivgen name='plain64'/>",
        "<ivgen name='plain64'/>", "<cipher name='aes' size='256'/><ivgen hash='x'/>"))
    yield from ("<foo/>", " ", "<volume>", "<volume/>", "\ufeff<volume/>")


# What libvirt overlooks or leaves to later, and we refuse: nothing that protects is dropped.
STRICTER = (
    target("<encryption format='luks' foo='1'/>"),
    target("<encryption format='luks'><foo/></encryption>"),
    target("<encryption format='luks'>text</encryption>"),
    target("<encryption format='luks'/><encryption format='qcow'/>"),
    target("<encryption format='qcow'><cipher name='aes' size='256'/></encryption>"),
    target("<encryption format='luks'><cipher name='aes' size='0'/></encryption>"),
    target(f"<encryption format='luks'>{SECRET}{SECRET}</encryption>"),
    target("<encryption format='luks'><secret type='passphrase' usage=''/></encryption>"),
    volume("<capacity>1</capacity><encryption format='luks'/>"),
    volume("<capacity>1</capacity><target/><target><encryption format='luks'/></target>"),
    volume("<capacity>1</capacity>", name="<name>a/b</name>"),
    volume("<capacity>1</capacity>", name="<name>..</name>"),
    volume("<capacity>1</capacity>", name="<name>a\nb</name>"),
)


def random_documents(count):
    """Documents built from parts that are each right, in an order that libvirt does not write."""
    source = random.Random(20261125)
    in_target = ["<path>/p</path>", "<format type='qcow2'/>", "<format type='raw'/>",
                 "<compat>1.1</compat>", "<features><extended_l2/></features>", "<nocow/>",
                 "<clusterSize unit='KiB'>64</clusterSize>", "<!-- c -->", "<timestamps/>",
                 f"<encryption format='luks'>{SECRET}</encryption>",
                 "<permissions><owner>5</owner><mode>0600</mode></permissions>"]
    in_volume = ["<allocation unit='M'>1</allocation>", "<physical>7</physical>", "<source/>",
                 "<key>x</key>", "<backingStore><path>/b</path></backingStore>", "<?pi x?>"]
    for _ in range(count):
        inside = "".join(source.sample(in_target, source.randrange(len(in_target))))
        parts = source.sample(in_volume, source.randrange(len(in_volume)))
        parts += [f"<target>{inside}</target>", "<capacity unit='k'>3</capacity>"]
        source.shuffle(parts)
        yield volume("\n".join(parts))


def without_how_it_is(xml):
    """Without the elements that say how a volume is, which reading ignores."""
    xml = re.sub(r" *<timestamps>.*?</timestamps>\n", "", xml, flags=re.S)
    xml = re.sub(r" *<physical [^\n]*\n", "", xml)
    head, separator, backing = xml.partition("  <backingStore>\n")
    backing = re.sub(r" *<permissions>.*?</permissions>\n", "", backing, flags=re.S)
    return head + separator + backing


class VolumesBesideLibvirt(unittest.TestCase):
    def setUp(self):
        self.libvirt = Libvirt()
        self.addCleanup(self.libvirt.close)

    def compare(self, documents):
        """What libvirt refuses we refuse, and to libvirt our form of the rest means the same."""
        taken = 0
        for xml, our in zip(documents, ours(b"parse", documents)):
            with self.subTest(xml=xml):
                their = self.libvirt.dump(xml)
                self.assertEqual(our is None, their is None, our or their)
                if our is not None:
                    self.assertEqual(self.libvirt.dump(our), their)
                    taken += 1
        self.assertGreater(taken, 20, "too few documents are right to compare anything")

    def test_listed_documents_mean_the_same(self):
        self.compare(list(listed_documents()))

    def test_generated_documents_mean_the_same(self):
        self.compare(list(random_documents(500)))

    def test_what_libvirt_overlooks_is_refused(self):
        self.assertEqual(ours(b"parse", STRICTER), [None] * len(STRICTER))
        self.assertNotIn(None, [self.libvirt.dump(xml) for xml in STRICTER])

    def dumps(self):
        documents = list(listed_documents()) + list(random_documents(200))
        return sorted({dump for dump in map(self.libvirt.dump, documents)
                       if dump not in (None, "too large")})

    def test_what_libvirt_writes_is_read_and_written_alike(self):
        dumps = self.dumps()
        self.assertGreater(len(dumps), 40)
        self.assertEqual(ours(b"parse", dumps), dumps)

    def test_an_encryption_put_into_libvirts_xml_is_all_that_changes(self):
        dumps = self.dumps()
        for dump, with_it in zip(dumps, ours(b"put", dumps)):
            bare = re.sub(r"    <encryption .*?</encryption>\n", "", dump, flags=re.S)
            self.assertEqual(with_it.count(PUT), 1)
            self.assertEqual(with_it.replace(PUT, ""), bare)
            self.assertEqual(self.libvirt.dump(with_it), with_it)


class VolumesOfARealHost(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root for a mount namespace")
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.machine.start_libvirtd()
        self.machine.virsh("pool-create-as", "p", "dir", "--target", "/var/lib/libvirt/images",
                           ).check()

    def create(self, xml):
        self.machine.write("/run/volume.xml", xml)
        self.machine.virsh("vol-create", "p", "/run/volume.xml").check()

    def dump(self, name):
        return self.machine.virsh("vol-dumpxml", name, "p").check().stdout.rstrip("\n") + "\n"

    def test_volumes_that_exist_are_read_and_written_alike(self):
        self.create(volume("<capacity unit='M'>1</capacity><target><format type='raw'/></target>"))
        self.create(volume("<capacity unit='M'>1</capacity><target><format type='qcow2'/>"
                           "<compat>1.1</compat><features><lazy_refcounts/></features></target>"
                           "<backingStore><path>/var/lib/libvirt/images/a</path>"
                           "<format type='raw'/></backingStore>", name="<name>b</name>"))
        # Made by another program: libvirt finds out the rest, and that it is encrypted.
        self.machine.run(["qemu-img", "create", "-q", "-f", "qcow2", "--object",
                          "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,"
                          "encrypt.iter-time=10", "/var/lib/libvirt/images/c", "1M"])
        self.machine.virsh("pool-refresh", "p").check()
        names = [name for name in "abc" if self.machine.exists(f"/var/lib/libvirt/images/{name}")]
        self.assertLessEqual({"a", "b"}, set(names))
        dumps = [self.dump(name) for name in names]
        self.assertEqual(ours(b"parse", dumps), [without_how_it_is(dump) for dump in dumps])
        for dump, with_it in zip(dumps, ours(b"put", dumps)):
            bare = re.sub(r"    <encryption .*?</encryption>\n", "", dump, flags=re.S)
            self.assertEqual(with_it.replace(PUT, ""), bare)


if __name__ == "__main__":
    sys.argv[1:] = []
    taptest.main()
