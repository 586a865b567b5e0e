/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pools: as they are defined, and as libvirt keeps them while they are active.
 */
#include <string.h>

#include "conf/pool_def.h"
#include "expect.h"

#define UUID "9e6755c0-c279-46cf-9d65-0030966f2dd2"

/* As libvirt 9.0 writes it. */
static const char state_of_dir_pool[] =
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
    "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n"
    "  virsh pool-edit p\nor other application using the libvirt API.\n-->\n\n"
    "<poolstate>\n"
    "  <pool type='dir'>\n"
    "    <name>p</name>\n"
    "    <uuid>" UUID "</uuid>\n"
    "    <capacity unit='bytes'>0</capacity>\n"
    "    <allocation unit='bytes'>0</allocation>\n"
    "    <available unit='bytes'>0</available>\n"
    "    <source>\n"
    "    </source>\n"
    "    <target>\n"
    "      <path>/var/lib/libvirt/images</path>\n"
    "    </target>\n"
    "  </pool>\n"
    "</poolstate>\n";

#define POOL(type, inside)                                                                         \
    "<pool type='" type "'><name>p</name><uuid>" UUID "</uuid>" inside "</pool>"

static struct pool_def *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct pool_def *def = pool_def_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return def;
}

static void
expect_refused(const char *xml, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(pool_def_parse(xml, strlen(xml), &error));
    expect_error(error, ERROR_XML, ERROR_FROM_STORAGE, detail);
}

static void
test_an_active_pools_state_is_read(void)
{
    g_autoptr(pool_def_t) parsed = parse(state_of_dir_pool);
    g_autoptr(pool_def_t) def = pool_def_copy(parsed);
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(def->name, ==, "p");
    g_assert_cmpstr(uuid_format(&def->uuid, uuid), ==, UUID);
    g_assert_cmpint(def->type, ==, POOL_TYPE_DIR);
    g_assert_cmpstr(def->type_name, ==, "dir");
    g_assert_cmpstr(def->target_path, ==, "/var/lib/libvirt/images");
    g_assert_null(def->source_name);
}

static void
test_a_volume_group_has_its_name(void)
{
    g_autoptr(pool_def_t) named = parse(POOL(
        "logical", "<source><name>vg0</name></source><target><path>/dev/vg0/</path></target>"));
    g_autoptr(pool_def_t) unnamed = parse(POOL("logical", ""));

    g_assert_cmpint(named->type, ==, POOL_TYPE_LOGICAL);
    g_assert_cmpstr(named->source_name, ==, "vg0");
    g_assert_cmpstr(named->target_path, ==, "/dev/vg0");
    g_assert_cmpstr(unnamed->source_name, ==, "p");
    g_assert_null(unnamed->target_path);
}

static void
test_types_are_those_with_folders_those_of_lvm_and_others(void)
{
    static const struct {
        const char *name;
        enum pool_type type;
    } types[] = {
        {"dir", POOL_TYPE_DIR},     {"fs", POOL_TYPE_DIR},    {"netfs", POOL_TYPE_DIR},
        {"disk", POOL_TYPE_OTHER},  {"rbd", POOL_TYPE_OTHER}, {"iscsi", POOL_TYPE_OTHER},
        {"mpath", POOL_TYPE_OTHER}, {"new", POOL_TYPE_OTHER},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autofree char *xml = g_strdup_printf(POOL("%s", ""), types[i].name);
        g_autoptr(pool_def_t) def = parse(xml);

        g_assert_cmpint(def->type, ==, types[i].type);
        g_assert_cmpstr(def->type_name, ==, types[i].name);
    }
}

static void
test_a_root_folder_keeps_its_slash(void)
{
    g_autoptr(pool_def_t) def = parse(POOL("dir", "<target><path>//</path></target>"));

    g_assert_cmpstr(def->target_path, ==, "/");
}

static void
test_what_is_missing_or_malformed_is_refused(void)
{
    expect_refused("<pool/>", "missing type of the storage pool: <pool> has no attribute 'type'");
    expect_refused("<pool type='dir'/>", "missing pool name element");
    expect_refused("<pool type='dir'><name>a/b</name></pool>",
                   "the pool name 'a/b' cannot contain '/'; choose another one");
    expect_refused("<pool type='dir'><name>a</name></pool>", "missing pool uuid element");
    expect_refused("<pool type='dir'><name>a</name><uuid>x</uuid></pool>",
                   "malformed uuid element");
    expect_refused("<volume/>", "expecting an element 'pool', alone or in 'poolstate'");
    expect_refused("<poolstate/>", "expecting an element 'pool', alone or in 'poolstate'");
}

static void
test_a_document_type_is_refused(void)
{
    expect_refused("<!DOCTYPE pool SYSTEM 'file:///etc/passwd'><pool/>",
                   "(storage_pool_definition) has a document type declaration (<!DOCTYPE ...>), "
                   "which is not allowed; remove it");
}

#define ADD(name) g_test_add_func("/conf/pool_def/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_active_pools_state_is_read);
    ADD(a_volume_group_has_its_name);
    ADD(types_are_those_with_folders_those_of_lvm_and_others);
    ADD(a_root_folder_keeps_its_slash);
    ADD(what_is_missing_or_malformed_is_refused);
    ADD(a_document_type_is_refused);
    return g_test_run();
}
