#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What other tools say of the text: clang-format, shellcheck, and man."""

import os
import unittest
from concurrent.futures import ThreadPoolExecutor

import tree
import taptest


_FILES_A_RUN = 40


def _clang_format(root, paths, style):
    """What it says of the first place in each file that is not formatted."""
    def check(some):
        status, text = tree.run(["clang-format", f"--style=file:{style}", "--dry-run", "-Werror",
                                 *[os.path.join(root, path) for path in some]])
        if status == 0:
            return []
        lines = text.splitlines()
        found = [next((line for line in lines if line.startswith(os.path.join(root, path) + ":")), None)
                 for path in some]
        named = [f"{path}: {line}" for path, line in zip(some, found) if line]
        return named or [f"{some[0]} or one of the next {len(some) - 1}: {text.strip()}"]

    runs = [paths[i:i + _FILES_A_RUN] for i in range(0, len(paths), _FILES_A_RUN)]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return [offender for offenders in pool.map(check, runs) for offender in offenders]


def _style(root):
    return os.path.join(root if os.path.exists(os.path.join(root, ".clang-format"))
                        else tree.SOURCE_ROOT, ".clang-format")


def unformatted_c(root):
    return _clang_format(root, tree.files(root, ".c", ".h"), _style(root))


def unformatted_generated_c(root):
    """`root` is a build folder."""
    return _clang_format(root, tree.files(root, ".c", ".h", under=("src",)), _style(root))


def shell_warnings(root):
    offenders = []
    for path in tree.scripts(root, "sh", "bash"):
        status, text = tree.run(["shellcheck", "--format=gcc", os.path.join(root, path)])
        if status != 0:
            offenders += text.splitlines()
    return offenders


def man_page_warnings(root):
    offenders = []
    for path in tree.files(root, *[f".{section}" for section in range(1, 9)], under=("docs",)):
        # Without the page itself, which may speak of warnings.
        status, text = tree.run(["sh", "-c", 'exec man --warnings -E UTF-8 -l -Tutf8 -Z "$1" '
                                 ">/dev/null", "sh", os.path.join(root, path)], cwd="/")
        warnings = [line for line in text.splitlines() if "warning" in line or "error" in line]
        if status != 0 or warnings:
            offenders.append(f"{path}: {'; '.join(warnings) or 'man fails'}")
    return offenders


def untidy_text(root):
    """Tabs in C, blanks at a line's end, a missing newline at the end of a file."""
    offenders = []
    for path in tree.files(root, ".c", ".h", ".py", ".x", ".md",
                           under=("src", "tools", "tests", "demo", "docs")):
        text = tree.read(root, path)
        if text and not text.endswith("\n"):
            offenders.append(f"{path}: no newline at the end")
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip():
                offenders.append(f"{path}:{number}: blanks at the end of the line")
            if "\t" in line and path.endswith((".c", ".h", ".py")):
                offenders.append(f"{path}:{number}: a tab")
    return offenders


class Format(tree.RuleMixin, unittest.TestCase):
    def test_c_sources_are_formatted(self):
        self.assert_kept(unformatted_c)

    def test_an_unformatted_source_is_caught(self):
        self.assert_caught(unformatted_c, {"src/util/x.c": "int f( void ){return 1;}\n"}, "x.c")

    @unittest.skipUnless(tree.BUILD_ROOT, "no build folder was named")
    def test_generated_sources_are_formatted(self):
        generated = tree.files(tree.BUILD_ROOT, ".c", ".h", under=("src",))
        self.assertTrue(generated, "there is no generated source")
        self.assert_kept(unformatted_generated_c, tree.BUILD_ROOT)

    def test_shell_scripts_have_no_warning(self):
        self.assertIn("dev", tree.scripts(tree.SOURCE_ROOT, "sh", "bash"))
        self.assert_kept(shell_warnings)

    def test_a_shell_script_with_a_warning_is_caught(self):
        self.assert_caught(shell_warnings, {"x": "#!/bin/sh\nrm -rf $1/*\n"}, "SC2086")

    def test_man_pages_have_no_warning(self):
        self.assert_kept(man_page_warnings)

    def test_a_man_page_with_a_warning_is_caught(self):
        self.assert_caught(man_page_warnings,
                           {"docs/man/x.1": ".TH X 1\n.SH NAME\nx \\- y\n.XYZ \\[nosuchglyph]\n"},
                           "x.1")

    def test_lines_and_files_end_cleanly(self):
        self.assert_kept(untidy_text)

    def test_blanks_at_a_lines_end_are_caught(self):
        self.assert_caught(untidy_text, {"src/util/x.c": "int a; \n\tint b;\nint c;"},
                           "blanks", "tab", "no newline")


if __name__ == "__main__":
    taptest.main()
