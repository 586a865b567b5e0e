#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages of the daemons name every option and every setting, and nothing else."""

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


# Of each daemon: its table of keys besides the common ones.
TABLES = {"virtcrypt-secretd": "secretd_keys", "virtcryptd": "virtcryptd_keys"}


def _keys_of_table(name):
    table = _read("src/conf/daemon_conf.c").split(f"static const struct key {name}[]")[1]
    return set(re.findall(r'(?:\{|IGNORED\()"(\w+)",\s*CONF_', table.split("\n};")[0]))


def _keys_of_the_daemon(program):
    return _keys_of_table("common_keys") | _keys_of_table(TABLES[program])


def _keys_of_the_page(program):
    """Of the lines below .TP that name settings."""
    page = _read(f"docs/man/{program}.conf.5").replace("\\\n", "")
    lines = re.findall(r"(?m)^\.TP\n\.BR? (.*)$", page)
    return {word for line in lines for word in re.findall(
        r"\b[a-z]+(?:_[a-z]+)+\b|^[a-z]+(?= \" = )", line)}


class Settings(unittest.TestCase):
    def test_the_tables_of_settings_are_read(self):
        self.assertGreater(len(_keys_of_table("common_keys")), 30)
        self.assertLessEqual({"unix_sock_dir", "value_readback", "ovs_timeout"},
                             _keys_of_the_daemon("virtcrypt-secretd"))
        self.assertLessEqual({"unix_sock_dir", "custodian_socket"},
                             _keys_of_the_daemon("virtcryptd"))

    def test_every_setting_is_in_the_manual_page_and_no_other(self):
        for program in TABLES:
            self.assertEqual(_keys_of_the_page(program), _keys_of_the_daemon(program), program)

    def test_every_setting_is_in_the_sample_and_no_other(self):
        for program in TABLES:
            sample = _read(f"packaging/{program}.conf")
            self.assertEqual(set(re.findall(r"(?m)^#(\w+) = ", sample)),
                             _keys_of_the_daemon(program), program)


# Where the daemons are in the folder of the build.
PROGRAMS = {"virtcrypt-secretd": "src/secret/virtcrypt-secretd",
            "virtcryptd": "src/guest/virtcryptd"}


class Options(unittest.TestCase):
    def test_every_option_is_in_the_manual_page_and_no_other(self):
        for program, path in PROGRAMS.items():
            usage = subprocess.run([os.path.join(BUILD_ROOT, path), "--help"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                   timeout=30, check=True).stdout
            page = _read(f"docs/man/{program}.8").replace("\\-", "-")
            options = page.split(".SH OPTIONS")[1].split(".SH")[0]
            heads = "\n".join(re.findall(r"(?m)^\.TP\n\.BR? (.*)$", options))
            self.assertEqual(set(re.findall(r"--?[a-zA-Z][a-z-]*", heads)),
                             set(re.findall(r"(?m)(?<=[ ,])--?[a-zA-Z][a-z-]*", usage)), program)


if __name__ == "__main__":
    taptest.main()
