#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares what our parser answers to secret definitions with what a real libvirtd answers.

libvirtd runs with its secret driver alone in a mount namespace of its own, so that the host's
libvirt is not touched. usage: test-conf-secret_def-libvirtd.py SECRET-XML-ANSWERS
"""

import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest

UUID = "d9a3c9a0-1111-4222-8333-444455556666"
U = f"<uuid>{UUID}</uuid>"
SCHEMA_CODE = 92
DRIVER = "/usr/lib/*/libvirt/connection-driver/libvirt_driver_secret.so"
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ""


# The side within the namespace ------------------------------------------------------------------

def start_libvirtd():
    for folder in ("/run", "/etc/libvirt", "/var/lib", "/var/cache"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    for folder in ("/run/libvirt", "/run/drivers", "/var/lib/libvirt", "/var/cache/libvirt"):
        os.makedirs(folder)
    driver = glob.glob(DRIVER)[0]
    os.symlink(driver, "/run/drivers/libvirt_driver_secret.so")
    with open("/run/libvirtd.conf", "w", encoding="ascii") as conf:
        conf.write('auth_unix_rw = "none"\nlog_outputs = "4:file:/run/libvirtd.log"\n')
    environment = dict(os.environ, LIBVIRT_DRIVER_DIR="/run/drivers")
    return subprocess.Popen(["libvirtd", "-f", "/run/libvirtd.conf"], env=environment,
                            stdin=subprocess.DEVNULL)


def connect(libvirt):
    for _ in range(100):
        try:
            return libvirt.open("secret:///system?socket=/run/libvirt/libvirt-sock")
        except libvirt.libvirtError:
            time.sleep(0.1)
    raise RuntimeError("libvirtd does not answer after 10 s")


def ask_libvirtd(documents):
    import libvirt  # pylint: disable=import-outside-toplevel
    libvirt.registerErrorHandler(lambda *_: None, None)
    daemon = start_libvirtd()
    answers = []
    try:
        connection = connect(libvirt)
        for xml, validate in documents:
            try:
                secret = connection.secretDefineXML(xml, validate)
                answers.append(["ok", 0, secret.XMLDesc()])
                secret.undefine()
            except libvirt.libvirtError as error:
                answers.append([error.get_error_code(), error.get_error_domain(),
                                error.get_error_message()])
        connection.close()
    finally:
        daemon.terminate()
        daemon.wait(20)
    return answers


# The side of the test ----------------------------------------------------------------------------

def libvirtd_answers(documents):
    with tempfile.TemporaryDirectory() as folder:
        question = os.path.join(folder, "question")
        answer = os.path.join(folder, "answer")
        with open(question, "w", encoding="ascii") as file:
            json.dump(documents, file)
        # The answer's folder must outlive the tmpfs mounts, so it is opened before them.
        with open(answer, "w", encoding="ascii") as file:
            subprocess.run(["unshare", "--mount", sys.executable, __file__, "--answer", question],
                           stdout=file, check=True, timeout=120)
        with open(answer, encoding="ascii") as file:
            return json.load(file)


def our_answers(documents):
    requests = b""
    for xml, validate in documents:
        body = xml.encode()
        requests += b"%d %d\n" % (validate, len(body)) + body
    output = subprocess.run([PROGRAM], input=requests, stdout=subprocess.PIPE, check=True,
                            timeout=120).stdout
    answers = []
    while output:
        head, output = output.split(b"\n", 1)
        code, domain, length = head.split()
        text, output = output[:int(length)].decode(), output[int(length):]
        answers.append(["ok" if code == b"ok" else int(code), int(domain), text])
    return answers


def comparable(answer):
    """Generated uuids and the words about the schema are not compared."""
    code, domain, text = answer
    if code == SCHEMA_CODE:
        text = text.split("\n")[0].split(" doc against ")[0]
    elif code == "ok":
        text = re.sub(f"<uuid>(?!{UUID})[0-9a-f-]{{36}}</uuid>", "<uuid>generated</uuid>", text)
    return [code, domain, text]


def usage(kind, element, text):
    return f"<usage type='{kind}'><{element}>{text}</{element}></usage>"


def listed_documents():
    yield from (f"<secret{a}>{U}</secret>" for a in (
        "", " ephemeral='yes' private='no'", " ephemeral='maybe'", " private='1'", " private=''",
        " private=' yes'", " private='&#121;es'", " foo='1'", " xmlns='urn:x'",
        " xmlns:q='urn:x' q:private='yes'", " q:x='1'", " xml:lang='en'", " a='1' a='2'",
        " private=yes"))
    yield from (f"<secret><uuid>{text}</uuid></secret>" for text in (
        "", "zz", f" {UUID} ", UUID.upper(), UUID.replace("-", ""), f"-{UUID}", f"{UUID}-",
        UUID.replace("-", "--"), "0" * 32, "d9 a3" + UUID[5:]))
    yield from (f"<secret>{U}{body}</secret>" for body in (
        "<description/>", "<description> a  b\n c </description>",
        "<description>a<b>c</b>d<!--x--><![CDATA[<&>]]></description>",
        "<description>&lt;&gt;&amp;&quot;&apos;\t&#13;&#9;\u00e9\u20ac\U0001f600\x7f</description>",
        "<description>x</description><description>y</description>", "<foo/>", "text", U,
        "<description foo='1'>x</description>", "<usage/>", "<usage type=''/>", "<q:x/>",
        "<description xmlns='urn:y'>x</description>", "<description>a&#x1;b</description>",
        "<description>]]></description>", "<description>a\r\nb\rc</description>", "&foo;",
        "<![CDATA[ ]]>", "<!-- c --><?pi x?>", "\ufffe", "\x01",
        "<usage/>" + usage("tls", "name", "n"),
        usage("ceph", "name", "n") + usage("tls", "name", "m")))
    yield from (f"<secret>{usage(kind, element, text)}{U}</secret>"
                for kind in ("volume", "ceph", "iscsi", "tls", "vtpm", "none", "foo", " tls ")
                for element in ("volume", "name", "target")
                for text in ("/dev/x", "x", "", "/", "C:\\x", "a\nb", "/a&#13;b", " "))
    yield from ("<foo/>", " ", "foo", "<secret>", "<secret></secre>", "<secret/>", "\ufeff<secret/>",
                "<q:secret xmlns:q='urn:x'/>", "<?xml version='1.0' encoding='ISO-8859-1'?><secret/>",
                " <?xml version='1.0'?><secret/>", "<secret/><x/>", "<secret/>junk",
                "<secret>\n <uuid>x</uuidd>\n</secret>", "<secret/>\n<!-- t -->\n")


def random_documents(count):
    """Documents built from parts that are each right or wrong in some way."""
    source = random.Random(20261124)
    texts = ["", "x", "/x", "a/b", " ", "&amp;", "&#10;", "\n", "<!--c-->", "<![CDATA[/y]]>", "<b/>",
             "\u00e9", "<![CDATA[]]>", "<?pi?>", "&#13;"]
    attributes = ["", "", "", " private='yes'", " ephemeral='no'", " x='1'", " type='ceph'",
                  " private='no '", " xmlns:z='urn:z'", " z:type='tls'"]
    elements = ["uuid", "description", "usage", "name", "volume", "target", "other"]

    def text():
        return "".join(source.choice(texts) for _ in range(source.randrange(4)))

    def element(depth):
        kind = source.random()
        if kind < 0.25:
            return U
        if kind < 0.4:
            return f"<description>{text()}</description>"
        if kind < 0.75:
            child, name = source.choice([("volume", "volume"), ("ceph", "name"), ("tls", "name"),
                                         ("iscsi", "target"), ("vtpm", "name"), ("none", "name")])
            extra = element(depth + 1) if depth < 3 and source.random() < 0.2 else ""
            return (f"<usage type='{child}'{source.choice(attributes[:3] + attributes)}>"
                    f"<{name}>{text()}</{name}>{extra}</usage>")
        name = source.choice(elements)
        inside = element(depth + 1) if depth < 3 and source.random() < 0.5 else text()
        return f"<{name}{source.choice(attributes)}>{inside}</{name}>"

    for _ in range(count):
        body = "".join(element(0) for _ in range(source.randrange(4)))
        yield f"<secret{source.choice(attributes)}{source.choice(attributes)}>{body}</secret>"


class SecretDefinitionsBesideLibvirtd(unittest.TestCase):
    def compare(self, documents):
        asked = [(xml, validate) for xml in documents for validate in (0, 1)]
        ours = our_answers(asked)
        theirs = libvirtd_answers(asked)
        self.assertEqual(len(ours), len(asked))
        self.assertEqual(len(theirs), len(asked))
        different = [(question, our, their) for question, our, their in zip(asked, ours, theirs)
                     if comparable(our) != comparable(their)]
        for question, our, their in different[:10]:
            print(f"# {question!r}\n#   libvirtd {their!r}\n#   ours     {our!r}")
        self.assertEqual(len(different), 0)
        valid = [their for (_, validate), their in zip(asked, theirs)
                 if validate and their[0] == "ok"]
        self.assertGreater(len(valid), 20, "too few documents are valid to compare anything")

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root for a mount namespace")
        if not glob.glob(DRIVER):
            self.skipTest("libvirt's secret driver is not installed")

    def test_listed_documents_get_libvirtds_answers(self):
        self.compare(list(listed_documents()))

    def test_generated_documents_get_libvirtds_answers(self):
        self.compare(list(random_documents(1500)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        with open(sys.argv[2], encoding="ascii") as asked_file:
            json.dump(ask_libvirtd(json.load(asked_file)), sys.stdout)
    else:
        import taptest
        sys.argv[1:] = []
        taptest.main()
