#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a source file says: licence and purpose at its head, and how it treats key bytes."""

import re
import unittest

import tree
import taptest

_SPDX = "SPDX-License-Identifier: LGPL-2.1-or-later"
_HEAD_LINES_MAX = 30

# Names that say "key bytes in plain memory". A path to a key, say master_key_file, is none.
_PLAIN_KEY = re.compile(
    r"\b(?:char|uint8_t|guint8|void)\s*(?:const\s*)?\*+\s*(?:const\s+)?"
    r"(\w*(?:password|passphrase|passwd|volume_key|master_key|secret_value|key_bytes))\b\s*[;,)=]")
_PLAIN_KEY_ARRAY = re.compile(
    r"\b(?:char|uint8_t|guint8)\s+"
    r"(\w*(?:password|passphrase|passwd|key|secret_value|key_bytes))\s*\[\s*\w")
_MEMSET = re.compile(r"\bmemset\s*\(\s*([^,]+?)\s*,\s*(?:0|0x0+|'\\0')\s*,")
_LINES_TO_FREE = 12


def files_without_head(root):
    offenders = []
    sources = tree.files(root, ".c", ".h", ".py", ".x") + [
        path for path in tree.scripts(root, "sh", "bash", "python3", "perl")
        if not path.endswith(".py")]
    for path in sources:
        lines = tree.read(root, path).splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if not lines or _SPDX not in lines[0]:
            offenders.append(f"{path}: the first line is no SPDX line")
            continue
        head = [line for line in lines[1:_HEAD_LINES_MAX] if line.strip(" #*/%\t")]
        if not head or not re.match(r'^\s*(\*|#|//|/\*|"""|\'\'\'|%)', head[0]):
            offenders.append(f"{path}: no comment says what the file is for")
    return offenders


def plain_keys(root):
    offenders = []
    for path in tree.files(root, ".c", ".h", under=("src", "tools")):
        for number, line in enumerate(tree.read(root, path).splitlines(), 1):
            match = _PLAIN_KEY.search(line) or _PLAIN_KEY_ARRAY.search(line)
            if match and "lint: not a key" not in line:
                offenders.append(f"{path}:{number}: {match.group(1)} (use struct secret_buf)")
    return offenders


def memset_before_free(root):
    offenders = []
    for path in tree.files(root, ".c", ".h", under=("src", "tools")):
        lines = tree.read(root, path).splitlines()
        for number, line in enumerate(lines, 1):
            match = _MEMSET.search(line)
            if not match:
                continue
            target = re.escape(match.group(1).lstrip("&*"))
            rest = "\n".join(lines[number - 1:number + _LINES_TO_FREE]).split("\n}")[0]
            if re.search(rf"\b(?:g_)?(?:clear_pointer|free|munmap)\w*\s*\(\s*[&*]?{target}\b", rest):
                offenders.append(f"{path}:{number}: memset of {match.group(1)} before it is freed "
                                 "(a compiler may drop it: explicit_bzero)")
    return offenders


def gotos(root):
    return [f"{path}:{number}: {line.strip()}"
            for path in tree.files(root, ".c", ".h", under=("src", "tools"))
            for number, line in enumerate(tree.read(root, path).splitlines(), 1)
            if re.match(r"^\s*goto\s+\w+;", line)]


_HEAD = f"/* {_SPDX}\n *\n * Owns: nothing.\n */\n"


class Text(tree.RuleMixin, unittest.TestCase):
    def test_each_source_names_its_licence_and_purpose(self):
        self.assert_kept(files_without_head)

    def test_a_source_without_licence_is_caught(self):
        self.assert_caught(files_without_head, {"src/util/x.c": "int f(void);\n"}, "no SPDX")

    def test_a_source_without_purpose_is_caught(self):
        self.assert_caught(files_without_head,
                           {"src/util/x.c": f"/* {_SPDX} */\n\nint f(void);\n"}, "what the file")

    def test_a_source_with_both_passes(self):
        self.assert_passes(files_without_head, {"src/util/x.c": _HEAD})

    def test_key_bytes_are_in_secret_buffers_only(self):
        self.assert_kept(plain_keys)

    def test_a_passphrase_as_text_is_caught(self):
        self.assert_caught(plain_keys, {"tools/x.c": "void f(const char *passphrase);\n"},
                           "passphrase")

    def test_a_key_as_an_array_is_caught(self):
        self.assert_caught(plain_keys, {"src/secret/x.c": "    uint8_t data_key[32];\n"},
                           "data_key")

    def test_the_path_of_a_key_passes(self):
        self.assert_passes(plain_keys, {"src/conf/x.h": "    char *master_key_file;\n"})

    def test_no_memset_stands_before_a_free(self):
        self.assert_kept(memset_before_free)

    def test_a_memset_before_a_free_is_caught(self):
        self.assert_caught(memset_before_free,
                           {"src/util/x.c": "    memset(bytes, 0, len);\n    g_free(bytes);\n"},
                           "memset of bytes")

    def test_no_goto_is_used(self):
        self.assert_kept(gotos)

    def test_a_goto_is_caught(self):
        self.assert_caught(gotos, {"src/util/x.c": "    goto cleanup;\n"}, "goto cleanup")


if __name__ == "__main__":
    taptest.main()
