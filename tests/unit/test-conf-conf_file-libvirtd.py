#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares which configuration files are right in syntax, and the errors, with a real libvirtd.

libvirtd is started with each file in a mount namespace of its own and with a pid file that it
cannot make, so that it ends right after it has read the file. usage:
test-conf-conf_file-libvirtd.py CONF-ANSWERS
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ""
SYNTAX_ERROR = re.compile(r"(configuration file syntax error: .*?:\d+: .*?)(: /run/test\.conf)?$")

# Not compared: blank lines with nothing after them, which libvirtd takes for a bad name.
RIGHT = [
    "", "# c", "a=1", " a=1", "\ta\t=\t5\t", "a=5 # c", "a=5#c", "a=5\r\nb=3\r\n", "a=-5",
    "a=+5", "a=007", "a = 5;", "a=5 ;", "a=1; b=2", "A_b1 = 2", 'a = ""', "a = 'x'", "a = 'x \"y\"'",
    'a = "\\"', 'a = """x\ny"""', 'a = """x"y""z"""', 'a="#" # c', "a=[]", "a=[ ]", 'a=["x"]',
    'a=[ "x" , \'y\' ]', 'a=[ "x", ]', 'a=[ "x",\n\n "y" ] # c', "a=['x'\n]", "# c\n\n  # d\na = 5",
]
WRONG = [
    "a", "a=", "a= # c", "a = 1 b = 2", "a=5 x", "a=0x10", "a=5.5", "a=-", "a=+", "a=--1", 'a="x',
    'a="x\n"', "a='x\ny'", 'a="x\\"y"', 'a="x" "y"', "a=x", "a=true", "a=[ , ]", 'a=[ "x" "y" ]',
    'a=[\n"x",\n# c\n"y"\n]', 'a=[ "x"', "a=[", "a\n= 5", "a =\n5", "1a = 2", "_a = 2", "a-b = 2",
    "a.b = 2", "=5", ";x", '"a"=1', "a=1,", "a=1\n]", "\ufeffa=1", "\n\nb", "a=1;;b=2", "a=1\n;b=2",
]


def ask_libvirtd(texts):
    for folder in ("/run", "/etc/libvirt", "/var/lib", "/var/cache"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    answers = []
    for text in texts:
        with open("/run/test.conf", "w", encoding="utf-8", newline="") as file:
            file.write(text)
        done = subprocess.run(["libvirtd", "-f", "/run/test.conf", "-p", "/nonexistent/pid"],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20,
                              check=False)
        answers.append(done.stderr.decode())
    return answers


class ConfigurationSyntaxBesideLibvirtd(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root for a mount namespace")
        if not shutil.which("libvirtd"):
            self.skipTest("libvirtd is not installed")

    def libvirtds_errors(self, texts):
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as question:
            json.dump(texts, question)
            question.flush()
            # The namespace has its own /run and more, but shares /tmp.
            output = subprocess.run(
                ["unshare", "--mount", sys.executable, __file__, "--answer", question.name],
                stdout=subprocess.PIPE, check=True, timeout=150).stdout
        errors = []
        for text, answer in zip(texts, json.loads(output)):
            found = [SYNTAX_ERROR.search(line) for line in answer.splitlines()]
            found = [match.group(1) for match in found if match]
            self.assertTrue(found or "Failed to open pid file" in answer, (text, answer))
            errors.append(found[0].replace("/run/test.conf", "FILE") if found else "")
        return errors

    def our_error(self, text):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            output = subprocess.run([PROGRAM, file.name], stdout=subprocess.PIPE, check=True,
                                    timeout=20).stdout
            return output.decode().rstrip("\n").replace(file.name, "FILE")

    def test_what_libvirtd_takes_is_taken(self):
        for text, error in zip(RIGHT, self.libvirtds_errors(RIGHT)):
            self.assertEqual((text, error), (text, ""))
            self.assertEqual((text, self.our_error(text)), (text, ""))

    def test_what_libvirtd_refuses_is_refused_in_its_words(self):
        for text, error in zip(WRONG, self.libvirtds_errors(WRONG)):
            self.assertNotEqual((text, error), (text, ""))
            # Ours may go on to say what would be right.
            self.assertEqual((text, self.our_error(text)[:len(error)]), (text, error))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        with open(sys.argv[2], encoding="ascii") as asked:
            json.dump(ask_libvirtd(json.load(asked)), sys.stdout)
    else:
        import taptest
        sys.argv[1:] = []
        taptest.main()
