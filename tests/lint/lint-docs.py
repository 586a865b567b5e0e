#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the manual says is there: links lead to files, and the commands of `dev` exist."""

import os
import re
import unittest

import tree
import taptest

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
_DEV_COMMAND = re.compile(r"\./dev ([a-z]+)")
_LINE_MAX = 100


def _pages(root):
    pages = tree.files(root, ".md", under=("docs",))
    return pages + [name for name in ("README.md", "CHANGELOG.md")
                    if os.path.exists(os.path.join(root, name))]


def broken_links(root):
    offenders = []
    for page in _pages(root):
        for target in _LINK.findall(tree.read(root, page)):
            if "://" in target:
                continue
            path = os.path.normpath(os.path.join(os.path.dirname(page), target))
            if not os.path.exists(os.path.join(root, path)):
                offenders.append(f"{page}: {target} is not there")
    return offenders


def unknown_dev_commands(root):
    commands = set(re.findall(r"^cmd_([a-z]+)\(\)", tree.read(root, "dev"), re.M)) | {"help"}
    return [f"{page}: ./dev {command}"
            for page in _pages(root)
            for command in _DEV_COMMAND.findall(tree.read(root, page))
            if command not in commands]


def long_lines(root):
    return [f"{page}:{number}: {len(line)} columns"
            for page in _pages(root)
            for number, line in enumerate(tree.read(root, page).splitlines(), 1)
            if len(line) > _LINE_MAX and not line.startswith(("|", "src/")) and "://" not in line]


# Of each format: its page, and the tables of its words in the sources.
_FORMATS = {
    "docs/guest-record.md": (("src/conf/guest_record.c", "children"),
                             ("src/conf/guest_record.c", "state_names"),
                             ("src/conf/guest_record.c", "origin_names"),
                             ("src/conf/guest_record.c", "key_state_names")),
    "docs/volume-record.md": (("src/conf/volume_record.c", "children"),
                              ("src/conf/volume_record.c", "kind_names"),
                              ("src/conf/volume_record.c", "state_names")),
    "docs/encryption.md": (("src/conf/encryption.c", "integrity_names"),
                           ("src/conf/encryption.c", "engine_names"),
                           ("src/conf/encryption.c", "format_names"),
                           ("src/conf/encryption_format.c", "encryption_dmcrypt_flags"),
                           ("src/conf/encryption_parse.c", "attributes"),
                           ("src/conf/encryption_parse.c", "children")),
}
_NOT_WRITTEN = {"default", "none"}


def undocumented_words(root):
    offenders = []
    for page, tables in _FORMATS.items():
        text = tree.read(root, page) if os.path.exists(os.path.join(root, page)) else ""
        words = set(re.findall(r"[\w-]+", text))
        for source, table in tables:
            code = tree.read(root, source)
            found = re.findall(rf"\b{table}\[[^]]*\] = (\{{.*?\}});", code, re.S)
            if not found:
                offenders.append(f"{source}: there is no table {table}")
            offenders += [f"{page}: {word} of {source} is missing"
                          for body in found for word in re.findall(r'"([^"]+)"', body)
                          if word not in words | _NOT_WRITTEN]
    return offenders


class Docs(tree.RuleMixin, unittest.TestCase):
    def test_links_lead_to_files(self):
        self.assert_kept(broken_links)

    def test_a_link_to_nothing_is_caught(self):
        self.assert_caught(broken_links, {"docs/x.md": "see [y](y.md)\n"}, "y.md is not there")

    def test_commands_of_dev_exist(self):
        self.assert_kept(unknown_dev_commands)

    def test_a_command_that_dev_has_not_is_caught(self):
        self.assert_caught(unknown_dev_commands,
                           {"dev": "cmd_check()\n", "README.md": "./dev chekc\n"}, "chekc")

    def test_lines_end_at_100_columns(self):
        self.assert_kept(long_lines)

    def test_a_longer_line_is_caught(self):
        self.assert_caught(long_lines, {"docs/x.md": "a" * 101 + "\n"}, "101 columns")

    def test_pages_of_formats_name_every_word(self):
        self.assert_kept(undocumented_words)

    def test_a_word_that_a_page_lacks_is_caught(self):
        sample = {source: "" for tables in _FORMATS.values() for source, _ in tables}
        sample["src/conf/encryption.c"] = 'format_names[] = {\n    [X] = "rot13",\n};\n'
        self.assert_caught(undocumented_words, {**sample, "docs/encryption.md": "luks\n"},
                           "rot13 of src/conf/encryption.c is missing")


if __name__ == "__main__":
    taptest.main()
