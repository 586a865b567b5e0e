#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each header compiles alone, without a warning. One compiler tells what is missing; both see all
headers in the sources that include them."""

import os
import unittest
from concurrent.futures import ThreadPoolExecutor

import tree
import taptest

_WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wno-unused-parameter",
             "-Wno-unused-function", "-Werror"]


def _compile(header, include_dirs, extra):
    # The header is included, not compiled itself: `#pragma once` is none in a main file.
    argv = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-x", "c", *_WARNINGS,
            *[f"-I{folder}" for folder in include_dirs], *extra, "-include", header, "/dev/null"]
    status, text = tree.run(argv)
    return None if status == 0 else f"{header}: {text.strip()}"


def headers_that_need_others(root):
    flags = tree.pkg_config_flags("glib-2.0", "gnutls", "libxml-2.0", "gio-2.0")
    include_dirs = [os.path.join(root, "src"), root]
    headers = [os.path.join(root, path) for path in tree.files(root, ".h", under=("src", "tools"))]
    if root == tree.SOURCE_ROOT and tree.BUILD_ROOT:
        generated = os.path.join(tree.BUILD_ROOT, "src")
        include_dirs.append(generated)
        headers += [os.path.join(tree.BUILD_ROOT, path)
                    for path in tree.files(tree.BUILD_ROOT, ".h", under=("src",))]
        flags += ["-include", os.path.join(tree.BUILD_ROOT, "config.h")]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        results = pool.map(lambda header: _compile(header, include_dirs, flags), headers)
    return [result for result in results if result]


class Headers(tree.RuleMixin, unittest.TestCase):
    def test_each_header_compiles_alone(self):
        self.assert_kept(headers_that_need_others)

    def test_a_header_that_needs_another_is_caught(self):
        self.assert_caught(headers_that_need_others,
                           {"src/util/x.h": "#pragma once\nbool f(void);\n"}, "bool")


if __name__ == "__main__":
    taptest.main()
