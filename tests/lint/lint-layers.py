#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Includes go down only: util <- conf, rpc, master <- daemon <- secret, storage, guest <- driver,
tools; util, conf, master <- secret <- recover.
"""

import os
import re
import unittest

import tree
import taptest

# Which folders of ours a file in a folder may include from.
_MAY_INCLUDE = {
    "src/util": {"util"},
    "src/conf": {"conf", "util"},
    "src/rpc": {"rpc", "util"},
    "src/daemon": {"daemon", "rpc", "conf", "util"},
    "src/master": {"master", "util"},
    "src/secret": {"secret", "master", "conf", "util"},
    "src/recover": {"recover", "secret", "daemon", "master", "conf", "util"},
    "src/storage": {"storage", "conf", "util"},
    "src/guest": {"guest", "storage", "conf", "util"},
    "src/driver": {"driver", "util"},
    "tools": {"tools", "recover", "secret", "master", "storage", "guest", "rpc", "conf", "util"},
}

# In a layer-2 folder these alone speak to the wire, and know of the process around them.
_MAY_INCLUDE_EDGE = re.compile(r"^(dispatch|main|daemon|events|client)(_\w+)?\.[ch]$")

# The connector for volumes has no client of libvirt's to speak to its daemon with, as that for secrets
# has; it uses ours, and nothing of the serving side.
_DRIVER_MAY_INCLUDE_RPC = re.compile(r"^src/driver/storage_\w+\.[ch]$")
_RPC_FOR_DRIVERS = re.compile(r"^rpc/(client\.h|protocol/\w+(?<!_server)\.h)$")

# Only what runs inside libvirt or beside it as a client may use libvirt's own library.
_MAY_USE_LIBVIRT = ("src/driver", "src/guest/libvirt", "tools")

_INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def _folder_of(path):
    parts = path.split("/")
    return "tools" if parts[0] == "tools" else "/".join(parts[:2])


def includes_that_go_up(root):
    offenders = []
    for path in tree.files(root, ".c", ".h", under=("src", "tools")):
        folder = _folder_of(path)
        allowed = _MAY_INCLUDE.get(folder)
        if allowed is None:
            offenders.append(f"{path}: {folder} is in no layer (see docs/architecture.md)")
            continue
        name = os.path.basename(path)
        for kind, target in _INCLUDE.findall(tree.read(root, path)):
            if kind == "<":
                continue
            target_folder = target.split("/")[0] if "/" in target else ""
            if target_folder in ("rpc", "daemon") and _MAY_INCLUDE_EDGE.match(name) and folder in (
                    "src/secret", "src/storage", "src/guest"):
                continue
            if _DRIVER_MAY_INCLUDE_RPC.match(path) and _RPC_FOR_DRIVERS.match(target):
                continue
            if target_folder not in allowed:
                offenders.append(f'{path}: includes "{target}"')
    return offenders


def libvirt_outside_its_place(root):
    return [f"{path}: includes <{target}>"
            for path in tree.files(root, ".c", ".h", under=("src", "tools"))
            for kind, target in _INCLUDE.findall(tree.read(root, path))
            if target.startswith("libvirt/") and not path.startswith(_MAY_USE_LIBVIRT)]


class Layers(tree.RuleMixin, unittest.TestCase):
    def test_includes_go_down_only(self):
        self.assert_kept(includes_that_go_up)

    def test_an_include_of_a_higher_layer_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/util/uuid.c": '#include "secret/store.h"\n'}, "src/util/uuid.c")

    def test_conf_and_rpc_that_see_each_other_are_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/conf/a.c": '#include "rpc/xdr.h"\n',
                            "src/rpc/b.c": '#include "conf/secret_def.h"\n'},
                           "src/conf/a.c", "src/rpc/b.c")

    def test_rpc_in_the_secret_core_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/secret/store.c": '#include "rpc/server.h"\n'}, "store.c")

    def test_the_process_in_the_secret_core_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/secret/store.c": '#include "daemon/lock.h"\n'}, "store.c")

    def test_a_service_in_what_daemons_share_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/daemon/core.c": '#include "secret/service.h"\n'}, "core.c")

    def test_rpc_in_a_dispatcher_is_allowed(self):
        self.assert_passes(includes_that_go_up,
                           {"src/secret/dispatch.c": '#include "rpc/server.h"\n'})

    def test_a_connector_that_includes_our_core_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/driver/x.c": '#include "conf/secret_def.h"\n'}, "src/driver/x.c")

    def test_the_client_in_the_connector_for_volumes_is_allowed(self):
        self.assert_passes(includes_that_go_up,
                           {"src/driver/storage_x.c": '#include "rpc/client.h"\n'
                                                      '#include "rpc/protocol/a_client.h"\n'})

    def test_more_of_rpc_in_a_connector_is_caught(self):
        self.assert_caught(includes_that_go_up,
                           {"src/driver/storage_x.c": '#include "rpc/protocol/a_server.h"\n',
                            "src/driver/storage_y.c": '#include "rpc/server.h"\n',
                            "src/driver/secret_z.c": '#include "rpc/client.h"\n'},
                           "storage_x.c", "storage_y.c", "secret_z.c")

    def test_an_include_without_its_folder_is_caught(self):
        self.assert_caught(includes_that_go_up, {"src/util/x.c": '#include "uuid.h"\n'}, "uuid.h")

    def test_a_folder_in_no_layer_is_caught(self):
        self.assert_caught(includes_that_go_up, {"src/misc/x.c": "\n"}, "in no layer")

    def test_only_connector_and_tools_use_libvirts_library(self):
        self.assert_kept(libvirt_outside_its_place)

    def test_libvirts_library_in_the_custodian_is_caught(self):
        self.assert_caught(libvirt_outside_its_place,
                           {"src/secret/x.c": "#include <libvirt/libvirt.h>\n"}, "src/secret/x.c")


if __name__ == "__main__":
    taptest.main()
