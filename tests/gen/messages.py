# SPDX-License-Identifier: LGPL-2.1-or-later
"""One message at least of every type, in bytes made by Python's struct alone, as RFC 4506 says.

Run as a program, it writes golden/messages.txt, which the tests in C start from, and the fuzzer's
corpus.
"""

import os
import struct

UUID = bytes.fromhex("8a3c1e2290ab4c5f9c0de1f2a3b4c5d6")
OTHER_UUID = bytes(range(0x10, 0x20))


def int32(value):
    return struct.pack(">i", value)


def uint32(value):
    return struct.pack(">I", value)


def int64(value):
    return struct.pack(">q", value)


def uint64(value):
    return struct.pack(">Q", value)


def double(value):
    return struct.pack(">d", value)


def boolean(value):
    return uint32(1 if value else 0)


def fixed(value):
    return value + bytes(-len(value) % 4)


def opaque(value):
    return uint32(len(value)) + fixed(value)


def text(value):
    return opaque(value.encode())


def optional(value):
    """`value` is None or the bytes of what is there."""
    return uint32(0) if value is None else uint32(1) + value


def array(elements):
    return uint32(len(elements)) + b"".join(elements)


def master_slot(method="key-file", needs_person=False, problem="it is gone"):
    return (fixed(UUID) + text(method) + text("first") + uint64(1 << 31) + boolean(needs_person)
            + boolean(not needs_person) + optional(problem and text(problem))
            + array([text("path") + text("/etc/k")]))


def secret(uuid=UUID, usage_type=1, usage="/v/a"):
    return fixed(uuid) + int32(usage_type) + text(usage)


def param(field, kind, value):
    return text(field) + int32(kind) + value


def error(code, domain, message, objects=(None, None), strings=(None, None, None), ints=(-1, -1)):
    dom, net = objects
    return (int32(code) + int32(domain) + optional(message and text(message)) + int32(2)
            + optional(dom) + b"".join(optional(each and text(each)) for each in strings)
            + int32(ints[0]) + int32(ints[1]) + optional(net))


def volume(name="a.qcow2", kind=0, key=UUID, is_open=False, users=None, state=None):
    """A virtcrypt_volume_entry."""
    return (text("default") + text(name) + text("/v/" + name) + int32(kind)
            + optional(key and fixed(key)) + boolean(True) + boolean(is_open)
            + optional(users and text(users)) + optional(state and text(state)))


def volume_ref(pool="default", name="a.qcow2"):
    return text(pool) + text(name)


def domain(name="guest", uuid=UUID):
    return text(name) + fixed(uuid) + int32(-1)


def guest_key(name="vda", mechanism="passphrase", key=b"k\0y"):
    return text(name) + text(mechanism) + optional(None) + opaque(key)


def guest_packet(path="/v/a", record="<volumeRecord/>", key=b"k\0y"):
    return (text("<secret/>") + optional(path and text(path)) + text("sent")
            + optional(record and text(record)) + opaque(key))


def guest_entry(uuid=UUID, state="running", erase_at=0):
    return (text("guest") + fixed(uuid) + text(state) + boolean(True) + uint32(2) + uint32(1)
            + uint32(0) + int64(erase_at))


def guest_key_entry(path="/v/a", state="bound", erase_at=0, reason=None):
    return (fixed(UUID) + fixed(OTHER_UUID) + text("guest") + optional(path and text(path))
            + text("generated") + text(state) + int64(erase_at)
            + optional(reason and text(reason)))


def check_item(path="/v/a", key=UUID, state="ok", message=None):
    return (text("disk vda") + optional(path and text(path)) + optional(key and fixed(key))
            + text(state) + optional(message and text(message)))


def scalars(color=5):
    return (int32(-2) + uint32(0xfffffffe) + int64(-2**62) + uint64(2**64 - 2) + double(-0.15625)
            + boolean(True) + int32(color))


def sample_list(length):
    return scalars() + optional(sample_list(length - 1) if length > 1 else None)


def point(x, y):
    return int32(x) + int32(y)


def sample_bytes(name="N"):
    return (fixed(b"\0\1\2\3\4\5\6") + opaque(b"123456789") + fixed(b"abcde") + opaque(b"k\0y")
            + text("") + optional(name and text(name)))


def sample_arrays():
    return (int32(1) + int32(2) + int32(3) + array([int64(4), int64(-5)])
            + array([int32(0), int32(5), int32(-7)]) + int32(5) + int32(0) + point(6, 7)
            + point(8, 9) + array([sample_list(1), sample_list(3)]) + text("a") + text("")
            + array([text("x" * 32)]) + fixed(b"fghij") + fixed(b"klmno")
            + array([fixed(b"pqrst"), fixed(b"uvwxy")])
            + array([optional(text("there")), optional(None)]))


def sample_unions(choice, open_, maybe, masked):
    return choice + open_ + maybe + masked


_RED = int32(0) + int32(99)
_GREEN = int32(5) + opaque(b"bytes")
_OPEN_NAMED = int32(1) + text("name")
_OPEN_NESTED = int32(-7) + array([int32(3), int32(-7) + array([_OPEN_NAMED])])
_OPEN_DEFAULT = int32(1000) + point(1, 2)


MESSAGES = [
    ("remote_error", error(66, 30, "Secret not found: none", strings=(
        "Secret not found: %s", "none", None))),
    ("remote_error", error(
        1, 0, None, (text("guest") + fixed(UUID) + int32(-1), text("net") + fixed(UUID)),
        strings=("a", "b", "c"), ints=(0, 7))),

    ("remote_connect_open_args", optional(text("qemu:///system")) + uint32(0)),
    ("remote_connect_open_args", optional(None) + uint32(1)),
    ("remote_connect_get_type_ret", text("secret")),
    ("remote_connect_get_version_ret", uint64(9000000)),
    ("remote_connect_get_hostname_ret", text("host.example")),
    ("remote_connect_supports_feature_args", int32(10)),
    ("remote_connect_supports_feature_ret", int32(1)),
    ("remote_auth_list_ret", array([int32(0)])),
    ("remote_auth_list_ret", array([int32(2), int32(1)] * 10)),
    ("remote_auth_polkit_ret", int32(1)),
    ("remote_connect_get_uri_ret", text("secret:///system")),
    ("remote_connect_is_secure_ret", int32(1)),
    ("remote_connect_get_lib_version_ret", uint64(9000000)),
    ("remote_connect_event_connection_closed_msg", int32(2)),
    ("remote_connect_set_identity_args", array([
        param("a", 1, int32(-1)), param("b", 2, uint32(2**32 - 1)),
        param("process-id", 3, int64(4)),
        param("unix-user-id", 4, uint64(0)), param("e", 5, double(2.5)), param("f", 6, int32(1)),
        param("system.token", 7, text("0123456789abcdef" * 2))]) + uint32(0)),
    ("remote_connect_set_identity_args", array([]) + uint32(0)),

    ("remote_connect_num_of_secrets_ret", int32(16384)),
    ("remote_connect_list_secrets_args", int32(2)),
    ("remote_connect_list_secrets_ret", array([text("8a3c1e22-90ab-4c5f-9c0d-e1f2a3b4c5d6")] * 2)),
    ("remote_secret_lookup_by_uuid_args", fixed(UUID)),
    ("remote_secret_lookup_by_uuid_ret", secret()),
    ("remote_secret_define_xml_args", text("<secret/>") + uint32(1)),
    ("remote_secret_define_xml_ret", secret(usage_type=0, usage="")),
    ("remote_secret_get_xml_desc_args", secret() + uint32(0)),
    ("remote_secret_get_xml_desc_ret", text("<secret ephemeral='no'>\n</secret>\n")),
    ("remote_secret_set_value_args", secret() + opaque(b"abc\0d") + uint32(0)),
    ("remote_secret_set_value_args", secret() + opaque(b"") + uint32(0)),
    ("remote_secret_get_value_args", secret() + uint32(0)),
    ("remote_secret_get_value_ret", opaque(b"abc\0d")),
    ("remote_secret_undefine_args", secret()),
    ("remote_secret_lookup_by_usage_args", int32(2) + text("client.admin secret")),
    ("remote_secret_lookup_by_usage_ret", secret(usage_type=2, usage="client.admin secret")),
    ("remote_connect_list_all_secrets_args", int32(1) + uint32(15)),
    ("remote_connect_list_all_secrets_ret", array([secret(), secret(OTHER_UUID, 5, "tpm")])
     + uint32(2)),
    ("remote_connect_list_all_secrets_ret", array([]) + uint32(7)),
    ("remote_connect_secret_event_register_any_args", int32(0) + optional(secret())),
    ("remote_connect_secret_event_register_any_args", int32(1) + optional(None)),
    ("remote_connect_secret_event_register_any_ret", int32(3)),
    ("remote_connect_secret_event_deregister_any_args", int32(3)),
    ("remote_secret_event_lifecycle_msg", int32(0) + secret() + int32(1) + int32(0)),
    ("remote_secret_event_value_changed_msg", int32(0) + secret()),

    ("virtcrypt_secret_daemon_status_ret", text("0.1.0") + uint32(4711) + boolean(True)
     + optional(text("no key")) + uint32(3) + uint32(1) + uint32(0) + uint32(2)),
    ("virtcrypt_secret_daemon_status_ret", text("0.1.0") + uint32(4711) + boolean(False)
     + optional(None) + uint32(100000) + uint32(0) + uint32(0) + uint32(1)),
    ("virtcrypt_secret_list_secrets_args", optional(None) + uint32(1000) + uint32(0)),
    ("virtcrypt_secret_list_secrets_args", optional(fixed(UUID)) + uint32(1) + uint32(15)),
    ("virtcrypt_secret_list_secrets_ret", array([
        secret() + boolean(False) + boolean(True) + boolean(True),
        secret(OTHER_UUID, 4, "") + boolean(True) + boolean(False) + boolean(False)])
     + boolean(True)),
    ("virtcrypt_secret_failures_ret", array([])),
    ("virtcrypt_secret_failures_ret", array([uint32(0) + int32(66) + text("gone"),
                                             uint32(7) + int32(-1) + text("")])),
    ("virtcrypt_secret_bind_args", array([fixed(UUID) + fixed(OTHER_UUID)])),
    ("virtcrypt_secret_unbind_args", array([fixed(UUID) + fixed(OTHER_UUID),
                                            fixed(OTHER_UUID) + fixed(UUID)]) + text("why")),
    ("virtcrypt_secret_erase_args", fixed(UUID) + optional(None) + text("volume deleted")),
    ("virtcrypt_secret_erase_args", fixed(UUID) + optional(fixed(OTHER_UUID)) + text("undefined")),
    ("virtcrypt_secret_list_bindings_args", optional(None) + uint32(1000)),
    ("virtcrypt_secret_list_bindings_args", optional(fixed(UUID) + fixed(OTHER_UUID)) + uint32(1)),
    ("virtcrypt_secret_list_bindings_ret", array([fixed(UUID) + fixed(OTHER_UUID)])
     + boolean(False)),
    ("virtcrypt_secret_put_args", text("<secret/>") + opaque(b"a\0b") + array([])),
    ("virtcrypt_secret_put_args", text("<secret/>") + opaque(b"abcd") + array([
        fixed(UUID), fixed(OTHER_UUID)])),
    ("virtcrypt_secret_audit_args", uint64(1 << 40) + uint32(1000)),
    ("virtcrypt_secret_audit_ret", array([text('{"seq":0}'), text("")]) + boolean(True)),
    ("virtcrypt_secret_generation_status_ret", uint64(3) + boolean(True) + uint64(1 << 33)
     + optional(text("damaged"))),
    ("virtcrypt_secret_generation_status_ret", uint64(1) + boolean(False) + uint64(0)
     + optional(None)),

    ("virtcrypt_master_status_ret", boolean(True) + optional(text("no slot opened")) + opaque(UUID)
     + boolean(True) + uint64(1 << 33) + optional(text("damaged")) + optional(text("older"))
     + array([master_slot(), master_slot("passphrase", True, None)])),
    ("virtcrypt_master_status_ret", boolean(False) + optional(None) + opaque(b"")
     + boolean(False) + uint64(0) + optional(None) + optional(None) + array([])),
    ("virtcrypt_master_unlock_args", optional(fixed(UUID)) + opaque(b"a\0b")),
    ("virtcrypt_master_unlock_args", optional(None) + opaque(b"")),
    ("virtcrypt_master_unlock_ret", fixed(UUID)),
    ("virtcrypt_master_add_slot_args", text("tpm2") + text("the chip") + array([
        text("pcrs") + text("7")]) + opaque(b"")),
    ("virtcrypt_master_add_slot_args", text("passphrase") + text("") + array([])
     + opaque(b"correct horse")),
    ("virtcrypt_master_add_slot_ret", master_slot()),
    ("virtcrypt_master_remove_slot_args", fixed(UUID) + opaque(b"abcd")),
    ("virtcrypt_master_test_slot_args", fixed(UUID) + opaque(b"abc")),
    ("virtcrypt_master_change_passphrase_args", fixed(UUID) + opaque(b"old") + opaque(b"newer")),
    ("virtcrypt_master_rotate_args", boolean(True) + array([
        fixed(UUID) + opaque(b"abc"), fixed(OTHER_UUID) + opaque(b"")])
     + array([fixed(OTHER_UUID)])),

    ("virtcrypt_store_import_args", boolean(True) + boolean(False) + optional(None) + uint32(1000)),
    ("virtcrypt_store_import_args", boolean(False) + boolean(True) + optional(fixed(UUID)) + uint32(1)),
    ("virtcrypt_store_import_ret", array([
        fixed(UUID) + text("a.base64") + text("import") + optional(None),
        fixed(OTHER_UUID) + text("b.aes256cbc") + text("keep") + optional(text("no key"))])
     + optional(fixed(OTHER_UUID)) + boolean(True)),
    ("virtcrypt_store_verify_args", optional(fixed(UUID)) + uint32(1000)),
    ("virtcrypt_store_verify_ret", uint32(12) + array([text("a.key") + text("damaged")])
     + optional(fixed(UUID)) + boolean(True)),
    ("virtcrypt_store_accept_args", optional(None)),
    ("virtcrypt_store_accept_ret", uint32(3)),
    ("virtcrypt_store_backup_begin_ret", uint64(1 << 33) + uint32(10000)
     + array([text("a.key") + text("damaged")])),
    ("virtcrypt_store_backup_read_args", uint64(1 << 20) + uint32(1048576)),
    ("virtcrypt_store_backup_read_ret", opaque(b"VCBACKUP")),

    ("virtcrypt_volume_daemon_status_ret", text("0.1.0") + uint32(4711) + uint32(2) + uint32(1)
     + uint32(3) + optional(text("away"))),
    ("virtcrypt_volume_daemon_status_ret", text("0.1.0") + uint32(4711) + uint32(0) + uint32(0)
     + uint32(1) + optional(None)),
    ("virtcrypt_volume_create_args", text("default") + text("<volume/>") + optional(volume_ref())
     + optional(text("/v/b")) + optional(text("raw")) + uint32(1 << 18) + opaque(b"abc\0d")),
    ("virtcrypt_volume_create_args", text("default") + text("<volume/>") + optional(None)
     + optional(None) + optional(None) + uint32(0) + opaque(b"")),
    ("virtcrypt_volume_job_ret", uint64(2**40) + boolean(True) + uint32(1000)
     + optional(volume(users="guest 'web'")) + array([text("one"), text("")])),
    ("virtcrypt_volume_job_ret", uint64(1) + boolean(False) + uint32(17) + optional(None)
     + array([])),
    ("virtcrypt_volume_job_wait_args", uint64(2**64 - 1)),
    ("virtcrypt_volume_wants_args", text("default") + text("<volume/>") + optional(volume_ref())
     + uint32(0)),
    ("virtcrypt_volume_wants_ret", boolean(True)),
    ("virtcrypt_volume_wipe_args", volume_ref() + uint32(0) + uint32(0)),
    ("virtcrypt_volume_resize_args", volume_ref() + uint64(2**40) + uint32(4)),
    ("virtcrypt_volume_ref_args", volume_ref() + uint32(0)),
    ("virtcrypt_volume_get_ret", volume("d", 2, None, True, state="being created")),
    ("virtcrypt_volume_get_by_path_args", text("/dev/virtcrypt/default/d")),
    ("virtcrypt_volume_get_info_ret", int32(1) + uint64(2**30) + uint64(2**20) + uint64(2**21)),
    ("virtcrypt_volume_get_xml_desc_ret", text("<volume type='block'>\n</volume>\n")),
    ("virtcrypt_volume_list_args", optional(text("default")) + optional(volume_ref())
     + uint32(1000)),
    ("virtcrypt_volume_list_args", optional(None) + optional(None) + uint32(1)),
    ("virtcrypt_volume_list_ret", array([volume(), volume("b", 1, OTHER_UUID)]) + boolean(True)),
    ("virtcrypt_volume_open_args", volume_ref() + optional(domain()) + boolean(False)
     + boolean(True)),
    ("virtcrypt_volume_open_args", volume_ref() + optional(None) + boolean(True) + boolean(False)),
    ("virtcrypt_volume_open_ret", text("/dev/virtcrypt/default/d")),
    ("virtcrypt_volume_guest_prepare_args", text("<domain/>")),
    ("virtcrypt_volume_guest_release_args", fixed(UUID)),
    ("virtcrypt_volume_pool_policy_args", text("default")),
    ("virtcrypt_volume_pool_policy_ret", text("dm-crypt")),
    ("virtcrypt_volume_set_pool_policy_args", text("default") + text("none")),

    ("virtcrypt_guest_status_ret", text("qemu:///system") + boolean(False)
     + optional(text("it does not answer")) + uint32(3) + uint32(5) + uint32(1) + uint32(2)),
    ("virtcrypt_guest_status_ret", text("") + boolean(True) + optional(None) + uint32(0) * 4),
    ("virtcrypt_guest_define_args", text("<domain/>") + array([
        guest_key(), guest_key("default/b", "generate", b"")]) + uint32(1)),
    ("virtcrypt_guest_define_args", text("<domain/>") + array([
        text("vda") + text("tpm2") + optional(text("pcrs=7")) + opaque(b"sealed")]) + uint32(0)),
    ("virtcrypt_guest_define_ret", domain() + array([
        text("/v/a") + fixed(UUID) + boolean(False),
        text("vdb") + fixed(OTHER_UUID) + boolean(True)])),
    ("virtcrypt_guest_list_args", optional(fixed(UUID)) + uint32(1000)),
    ("virtcrypt_guest_list_args", optional(None) + uint32(1)),
    ("virtcrypt_guest_list_ret", array([
        guest_entry(), guest_entry(OTHER_UUID, "undefined", 2**40)]) + boolean(True)),
    ("virtcrypt_guest_list_keys_args", optional(fixed(OTHER_UUID)) + optional(text("/v/a"))
     + boolean(True) + optional(fixed(UUID) + fixed(OTHER_UUID)) + uint32(17)),
    ("virtcrypt_guest_list_keys_args", optional(None) + optional(None) + boolean(False)
     + optional(None) + uint32(1000)),
    ("virtcrypt_guest_list_keys_ret", array([
        guest_key_entry(), guest_key_entry(None, "waiting", 2**40, "undefined")])
     + boolean(False)),
    ("virtcrypt_guest_bind_args", fixed(UUID) + fixed(OTHER_UUID)),
    ("virtcrypt_guest_erase_args", fixed(UUID)),
    ("virtcrypt_guest_check_args", fixed(UUID)),
    ("virtcrypt_guest_check_ret", domain() + boolean(False) + array([
        check_item(), check_item(None, None, "wrong", "it opens no keyslot")])),
    ("virtcrypt_guest_migrate_begin_args", fixed(UUID) + text("qemu+ssh://b/system")),
    ("virtcrypt_guest_migrate_begin_ret", domain() + fixed(OTHER_UUID) + array([
        guest_packet(), guest_packet(None, None)])),
    ("virtcrypt_guest_migrate_receive_args", domain() + fixed(OTHER_UUID) + text("a.example")
     + array([guest_packet(), guest_packet(None, None, b"")])),
    ("virtcrypt_guest_migrate_end_args", fixed(UUID) + fixed(OTHER_UUID) + boolean(True)),
    ("virtcrypt_guest_migrate_end_ret", text("migrated") + uint32(2) + uint32(1)),

    ("virtcrypt_guest_autostart_ret", uint32(2) + boolean(True) + boolean(False)),

    ("sample_bytes", sample_bytes()),
    ("sample_arrays", sample_arrays()),
    ("sample_unions", sample_unions(_RED, _OPEN_NAMED, boolean(True) + opaque(b"sixteen bytes 16"),
                                    uint32(0xf0000000) + double(1e300))),
    ("sample_unions", sample_unions(_GREEN, _OPEN_NESTED, boolean(False), uint32(0))),
    ("sample_unions", sample_unions(int32(-7) + int32(1), _OPEN_DEFAULT, boolean(False),
                                    uint32(2**32 - 1))),
    ("sample_optionals", optional(int32(1)) + optional(int32(-7)) + optional(boolean(True))
     + optional(point(3, 4)) + optional(sample_bytes(None)) + optional(fixed(b"vwxyz"))
     + optional(_GREEN)),
    ("sample_optionals", optional(None) * 7),
    ("sample_point", point(-1, 2147483647)),
    ("sample_type_with_a_name_that_leaves_little_room", point(0, -2147483648)),
]


def lines():
    return "".join(f"{name} {message.hex()}\n" for name, message in MESSAGES)


def corpus():
    """{file name: bytes}"""
    return {f"{name}-{number}": message for number, (name, message) in enumerate(MESSAGES)}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "golden", "messages.txt"), "w", encoding="utf-8") as file:
        file.write(lines())
    folder = os.path.join(here, "..", "fuzz", "corpus", "rpc-codec")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    for name, message in corpus().items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(message)


if __name__ == "__main__":
    main()
