#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages of the daemon name every option and every setting, and nothing else."""

import os
import re
import subprocess
import unittest

import taptest

SOURCE_ROOT = os.environ["SOURCE_ROOT"]
BUILD_ROOT = os.environ["BUILD_ROOT"]


def _read(path):
    with open(os.path.join(SOURCE_ROOT, path), encoding="utf-8") as file:
        return file.read()


def _keys_of_the_daemon():
    table = _read("src/conf/daemon_conf.c").split("static const struct key keys[]")[1]
    return set(re.findall(r'(?:\{|IGNORED\()"(\w+)",\s*CONF_', table.split("\n};")[0]))


def _keys_of_the_page():
    """Of the lines below .TP that name settings."""
    page = _read("docs/man/virtcrypt-secretd.conf.5").replace("\\\n", "")
    lines = re.findall(r"(?m)^\.TP\n\.BR? (.*)$", page)
    return {word for line in lines for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", line)}


class Settings(unittest.TestCase):
    def test_the_table_of_settings_is_read(self):
        keys = _keys_of_the_daemon()
        self.assertGreater(len(keys), 30)
        self.assertLessEqual({"unix_sock_dir", "value_readback", "ovs_timeout"}, keys)

    def test_every_setting_is_in_the_manual_page_and_no_other(self):
        self.assertEqual(_keys_of_the_page(), _keys_of_the_daemon())

    def test_every_setting_is_in_the_sample_and_no_other(self):
        sample = _read("packaging/virtcrypt-secretd.conf")
        self.assertEqual(set(re.findall(r"(?m)^#(\w+) = ", sample)), _keys_of_the_daemon())


class Options(unittest.TestCase):
    def test_every_option_is_in_the_manual_page_and_no_other(self):
        usage = subprocess.run([os.path.join(BUILD_ROOT, "src/secret/virtcrypt-secretd"), "--help"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                               timeout=30, check=True).stdout
        page = _read("docs/man/virtcrypt-secretd.8").replace("\\-", "-")
        options = page.split(".SH OPTIONS")[1].split(".SH")[0]
        heads = "\n".join(re.findall(r"(?m)^\.TP\n\.BR? (.*)$", options))
        self.assertEqual(set(re.findall(r"--?[a-zA-Z][a-z-]*", heads)),
                         set(re.findall(r"(?m)(?<=[ ,])--?[a-zA-Z][a-z-]*", usage)))


if __name__ == "__main__":
    taptest.main()
