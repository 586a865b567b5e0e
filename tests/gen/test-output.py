#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the XDR compiler writes, beside what it should (tests/gen/golden), and that C compilers and
the formatter have nothing to say about it. After a wanted change, from the project's folder:

    for name in sample_types sample; do
        python3 -B src/rpc/gen --root . --include-dir '' --out tests/gen/golden tests/gen/$name.x
    done
"""

import os
import subprocess
import tempfile
import unittest

import compiler
import taptest

_GOLDEN = os.path.join(compiler.HERE, "golden")
_WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
             "-Wno-unused-parameter", "-Werror"]


def _compile_sample(name):
    return compiler.run(os.path.join(compiler.HERE, name + ".x"), root=compiler.SOURCE_ROOT,
                        include_dir="")


def _golden(name):
    with open(os.path.join(_GOLDEN, name), encoding="utf-8") as file:
        return file.read()


def _say(argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    return "" if done.returncode == 0 else f"{argv[0]}: {done.stdout or done.returncode}"


class Output(unittest.TestCase):
    maxDiff = None

    def assert_golden(self, name, parts):
        made = _compile_sample(name)
        self.assertEqual(made.errors, "")
        self.assertEqual(sorted(made.outputs), sorted(parts))
        for part in parts:
            self.assertMultiLineEqual(made.outputs[part], _golden(part))

    def test_types_alone_make_a_header_and_a_codec(self):
        self.assert_golden("sample_types", ["sample_types.h", "sample_types.c"])

    def test_a_program_makes_server_and_client_too(self):
        self.assert_golden("sample", [f"sample{end}" for end in (
            ".h", ".c", "_server.h", "_server.c", "_client.h", "_client.c")])

    def test_the_same_input_makes_the_same_output(self):
        self.assertEqual(_compile_sample("sample").outputs, _compile_sample("sample").outputs)

    def test_the_golden_sources_are_formatted(self):
        style = os.path.join(compiler.SOURCE_ROOT, ".clang-format")
        paths = [os.path.join(_GOLDEN, name) for name in sorted(os.listdir(_GOLDEN))
                 if name.endswith((".c", ".h"))]
        self.assertEqual(len(paths), 8)
        self.assertEqual(
            _say(["clang-format", f"--style=file:{style}", "--dry-run", "-Werror", *paths]), "")

    def test_gcc_and_clang_compile_it_without_a_warning(self):
        flags = subprocess.check_output(["pkg-config", "--cflags", "glib-2.0"], text=True).split()
        include = [f"-I{_GOLDEN}", f"-I{os.path.join(compiler.SOURCE_ROOT, 'src')}"]
        for c_compiler in ("gcc", "clang"):
            for name in sorted(os.listdir(_GOLDEN)):
                if name.endswith(".c"):
                    self.assertEqual("", _say([
                        c_compiler, "-std=gnu11", "-fsyntax-only", *_WARNINGS, *include, *flags,
                        os.path.join(_GOLDEN, name)]))

    def test_the_banner_names_every_input(self):
        header = _compile_sample("sample").outputs["sample.h"]
        self.assertIn("tests/gen/sample.x, tests/gen/sample_types.x", header.split("*/")[0])

    def test_procedures_are_sorted_by_number(self):
        code = _golden("sample.c")
        names = [line.split("_PROC_")[1].rstrip(",") for line in code.splitlines()
                 if ".number = SAMPLE_SERVICE_PROC_" in line]
        self.assertEqual(names, ["NOTHING", "SWAP_ARRAYS", "GIVE_UNIONS", "SWAP_OPTIONALS",
                                 "TAKE_A_LONG_NAME", "TAKE_BYTES", "POINT_MOVED"])

    def test_arguments_that_hold_a_secret_can_be_taken_from(self):
        header = _golden("sample_server.h")
        self.assertIn("void *opaque, struct sample_bytes *args,", header)
        self.assertIn(" const struct sample_arrays *args,", header)

    def test_flags_say_which_side_carries_the_secret(self):
        made = compiler.compile_texts(
            "struct s { @secret opaque key<4>; };\n"
            "program p = 1 version 1 {\n"
            "@acl(none) @secret void a(s) = 1;\n"
            "@acl(none) @secret s b(void) = 2;\n"
            "@acl(none) @secret @readonly s c(s) = 3;\n};\n").outputs["main.c"]
        flags = [line.strip() for line in made.splitlines() if ".flags" in line]
        self.assertEqual(flags, [
            ".flags = RPC_PROC_SECRET_ARGS,", ".flags = RPC_PROC_SECRET_RET,",
            ".flags = RPC_PROC_READONLY | RPC_PROC_SECRET_ARGS | RPC_PROC_SECRET_RET,"])

    def test_a_secret_is_freed_by_what_wipes_it(self):
        made = compiler.compile_texts("struct s { @secret opaque key<4>; };\n").outputs["main.c"]
        self.assertIn("    secret_buf_free(value->key);\n", made)
        self.assertNotIn("g_free(value->key)", made)

    def test_an_error_fails_the_build_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "wrong.x")
            with open(path, "w", encoding="utf-8") as file:
                file.write("struct s {\n    unknown y;\n};\n")
            made = compiler.run(path, root=folder)
        self.assertEqual(made.errors, "wrong.x:2:5: the type 'unknown' is unknown\n")
        self.assertEqual(made.status, 1)
        self.assertEqual(made.outputs, {})


if __name__ == "__main__":
    taptest.main()
