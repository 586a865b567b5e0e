#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark itself works: with real daemons, few secrets and very short measurements. Its
figures are not judged here."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE_ROOT = os.environ["SOURCE_ROOT"]
BUILD_ROOT = os.environ["BUILD_ROOT"]
sys.path.insert(0, os.path.join(SOURCE_ROOT, "tests/bench"))

import population
import taptest


class Bench(unittest.TestCase):
    def bench(self, *arguments):
        return subprocess.run(
            ["/usr/bin/python3", os.path.join(SOURCE_ROOT, "tests/bench/bench.py"),
             "--build-dir", BUILD_ROOT, *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False)

    def test_every_call_is_measured_on_both_daemons_and_the_floor(self):
        with tempfile.TemporaryDirectory(prefix="vcbench-") as folder:
            done = self.bench("smoke", "--sizes", "12", "--work-dir", folder)
            self.assertIn("Targets", done.stdout)
            with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
                results = json.load(file)
        measured = {(run["daemon"], run["via"], run["op"]) for run in results["runs"]}
        for daemon in ("libvirtd", "virtcrypt"):
            for op in ("lookup-uuid", "lookup-usage", "get-value", "set-value", "define", "list"):
                for via in ("raw", "libvirt"):
                    self.assertIn((daemon, via, op), measured)
        self.assertIn(("floor", "floor", "lookup-uuid"), measured)
        for run in results["runs"]:
            for figures in run["runs"]:
                self.assertGreater(figures["calls"], 0)
                self.assertGreaterEqual(figures["p99_us"], figures["p50_us"])

    def test_a_look_at_guests_is_measured_beside_libvirts_list_of_them(self):
        with tempfile.TemporaryDirectory(prefix="vcbench-") as folder:
            done = subprocess.run(
                ["/usr/bin/python3", os.path.join(SOURCE_ROOT, "tests/bench/guests.py"),
                 "--build-dir", BUILD_ROOT, "--work-dir", folder, "smoke"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=240, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            with open(os.path.join(folder, "guests.json"), encoding="utf-8") as file:
                seconds = json.load(file)["seconds"]
        for what in ("libvirt lists them", "nothing is to do", "all keys are bound"):
            self.assertTrue(seconds[what], done.stdout)

    def test_unlocking_and_rotations_are_measured_beside_their_floors(self):
        with tempfile.TemporaryDirectory(prefix="vcbench-") as folder:
            done = subprocess.run(
                ["/usr/bin/python3", os.path.join(SOURCE_ROOT, "tests/bench/master.py"),
                 "--build-dir", BUILD_ROOT, "--work-dir", folder, "smoke"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=240, check=False)
            # Whether targets are met is not judged.
            self.assertIn("Targets", done.stdout)
            with open(os.path.join(folder, "master.json"), encoding="utf-8") as file:
                figures = json.load(file)["figures"]
        for size in (10, 20):
            for way in ("key file", "credential", "locked"):
                self.assertGreater(figures[f"start, {way}, {size}"][0], 0)
        self.assertGreater(figures["start, libvirtd, 20"][0], 0)
        for what in ("rotation", "rotation with --reseal"):
            for figure in ("s", "flushes", "flushed appends", "MiB appended", "floor s"):
                self.assertGreater(figures[f"{what}, {figure}"][0], 0)
        self.assertGreater(figures["new slots of an empty store, s"][0], 0)

    def test_an_unknown_call_is_refused(self):
        done = self.bench("quick", "--ops", "lookup-name")
        self.assertEqual(done.returncode, 2)
        self.assertIn("lookup-name", done.stdout)

    def test_a_server_that_answers_with_an_error_fails_the_measurement(self):
        # The load program must not count refusals as calls: here the secret does not exist.
        with tempfile.TemporaryDirectory(prefix="vcbench-") as folder:
            done = self.bench("smoke", "--sizes", "12", "--ops", "lookup-uuid", "--work-dir",
                              folder, "--pretend-size", "24")
        self.assertEqual(done.returncode, 1)
        self.assertIn("failed with code 66", done.stdout)

    def test_uuids_of_both_languages_are_version_4(self):
        for index in (0, 1, 99999):
            text = population.uuid_text(index)
            self.assertRegex(text, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]")


if __name__ == "__main__":
    taptest.main()
