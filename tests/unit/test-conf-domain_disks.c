/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a domain's disks open: sources, backing chains, mirrors, and their encryption.
 */
#include <string.h>

#include "conf/domain_disks.h"
#include "expect.h"

#define UUID           "d9a3c9a0-1111-4222-8333-444455556666"
#define DOMAIN(inside) "<domain type='qemu'><name>g</name><uuid>" UUID "</uuid>" inside "</domain>"
#define LUKS           "<encryption format='luks'><secret type='passphrase' uuid='" UUID "'/></encryption>"
#define DM_CRYPT       "<encryption engine='dm-crypt'/>"

static struct domain_disks *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct domain_disks *disks = domain_disks_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return disks;
}

static struct domain_disk *
parse_disk(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct domain_disk *disk = domain_disk_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return disk;
}

static const struct disk_source *
source_of(const struct domain_disk *disk, guint index)
{
    g_assert_cmpuint(index, <, disk->sources->len);
    return g_ptr_array_index(disk->sources, index);
}

static const struct domain_disk *
disk_of(const struct domain_disks *disks, guint index)
{
    g_assert_cmpuint(index, <, disks->disks->len);
    return g_ptr_array_index(disks->disks, index);
}

static void
expect_path(const struct domain_disk *disk, guint index, enum disk_source_type type,
            const char *path, const char *format)
{
    const struct disk_source *source = source_of(disk, index);

    g_assert_cmpint(source->type, ==, type);
    g_assert_cmpstr(source->path, ==, path);
    g_assert_cmpstr(source->format, ==, format);
}

static void
expect_refused(const char *xml, enum error_code code, enum error_domain domain, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(domain_disks_parse(xml, strlen(xml), &error));
    expect_error(error, code, domain, detail);
}

/* Of a running guest, as libvirt 9.0 writes it, shortened. */
static const char status[] =
    "<!-- WARNING -->\n"
    "<domstatus state='running' reason='booted' pid='7562'>\n"
    "  <devices><device alias='virtio-disk1'/></devices>\n"
    "  <blockjobs active='no'/>\n" DOMAIN(
        "<devices>"
        "<disk type='volume' device='disk'>"
        "<driver name='qemu' type='qcow2'/>"
        "<source pool='p' volume='q' index='3'><privateData><nodenames>"
        "<nodename type='storage' name='libvirt-3-storage'/></nodenames></privateData></source>"
        "<backingStore type='file' index='4'><format type='raw'/>"
        "<source file='/images/b'><privateData/></source><backingStore/></backingStore>"
        "<mirror type='file' file='/images/m' format='qcow2' job='copy' ready='yes'>"
        "<format type='qcow2'/><source file='/images/m' index='5'/><backingStore/></mirror>"
        "<target dev='vda' bus='virtio'/></disk>"
        "<disk type='file' device='cdrom'><driver name='qemu'/><target dev='hda' bus='ide'/>"
        "<readonly/></disk>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source file='/images/e' index='1'/><backingStore/><target dev='vdb' bus='virtio'/>"
        "<encryption format='luks' engine='qemu'>"
        "<secret type='passphrase' uuid='" UUID "'/></encryption>"
        "<diskSecretsPlacement enc='true'/></disk>"
        "<controller type='usb' index='0'/></devices>") "</domstatus>\n";

static void
test_a_running_guests_status_is_read(void)
{
    g_autoptr(domain_disks_t) disks = parse(status);
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(disks->name, ==, "g");
    g_assert_cmpstr(uuid_format(&disks->uuid, uuid), ==, UUID);
    g_assert_cmpuint(disks->disks->len, ==, 3);
    g_assert_cmpstr(disk_of(disks, 0)->target, ==, "vda");
    g_assert_cmpstr(disk_of(disks, 1)->target, ==, "hda");
    g_assert_cmpstr(disk_of(disks, 2)->target, ==, "vdb");
}

static void
test_a_volume_its_backing_file_and_its_mirror_are_sources(void)
{
    g_autoptr(domain_disks_t) disks = parse(status);
    const struct domain_disk *disk = disk_of(disks, 0);

    g_assert_cmpuint(disk->sources->len, ==, 3);
    g_assert_cmpint(source_of(disk, 0)->type, ==, DISK_SOURCE_VOLUME);
    g_assert_cmpstr(source_of(disk, 0)->pool, ==, "p");
    g_assert_cmpstr(source_of(disk, 0)->volume, ==, "q");
    g_assert_cmpstr(source_of(disk, 0)->format, ==, "qcow2");
    expect_path(disk, 1, DISK_SOURCE_FILE, "/images/b", "raw");
    expect_path(disk, 2, DISK_SOURCE_FILE, "/images/m", "qcow2");
}

static void
test_encryption_beside_the_source_is_the_sources(void)
{
    g_autoptr(domain_disks_t) disks = parse(status);
    const struct disk_source *source = source_of(disk_of(disks, 2), 0);

    g_assert_nonnull(source->encryption);
    g_assert_cmpint(source->encryption->engine, ==, ENCRYPTION_ENGINE_QEMU);
    g_assert_cmpint(source->encryption->secret_by, ==, ENCRYPTION_SECRET_UUID);
}

static void
test_encryption_within_each_source_is_read(void)
{
    g_autoptr(domain_disk_t) disk = parse_disk(
        "<disk type='block'><source dev='/dev/a'>" DM_CRYPT "</source>"
        "<backingStore type='file'><format type='qcow2'/><source file='/b'>" LUKS "</source>"
        "<backingStore type='file'><format type='raw'/><source file='/c'/><backingStore/>"
        "</backingStore></backingStore>"
        "<mirror type='block'><format type='raw'/><source dev='/dev/m'>" LUKS "</source></mirror>"
        "<target dev='vda'/></disk>");

    g_assert_cmpuint(disk->sources->len, ==, 4);
    expect_path(disk, 0, DISK_SOURCE_BLOCK, "/dev/a", NULL);
    g_assert_true(encryption_is_dm_crypt(source_of(disk, 0)->encryption));
    expect_path(disk, 1, DISK_SOURCE_FILE, "/b", "qcow2");
    g_assert_nonnull(source_of(disk, 1)->encryption);
    expect_path(disk, 2, DISK_SOURCE_FILE, "/c", "raw");
    g_assert_null(source_of(disk, 2)->encryption);
    expect_path(disk, 3, DISK_SOURCE_BLOCK, "/dev/m", "raw");
    g_assert_nonnull(source_of(disk, 3)->encryption);
}

static void
test_a_mirror_of_an_old_libvirt_is_a_source(void)
{
    g_autoptr(domain_disk_t) disk =
        parse_disk("<disk type='file'><source file='/a'/><mirror file='/m' format='raw'/>"
                   "<target dev='vda'/></disk>");

    g_assert_cmpuint(disk->sources->len, ==, 2);
    expect_path(disk, 1, DISK_SOURCE_FILE, "/m", "raw");
}

static void
test_a_file_of_data_alone_is_a_source(void)
{
    g_autoptr(domain_disk_t) disk =
        parse_disk("<disk type='file'><source file='/a'><dataStore type='block'>"
                   "<format type='raw'/><source dev='/dev/d'/></dataStore></source>"
                   "<target dev='vda'/></disk>");

    g_assert_cmpuint(disk->sources->len, ==, 2);
    expect_path(disk, 1, DISK_SOURCE_BLOCK, "/dev/d", "raw");
}

static void
test_flags_of_a_disk_are_read(void)
{
    g_autoptr(domain_disk_t) plain = parse_disk("<disk><target dev='vda'/></disk>");
    g_autoptr(domain_disk_t) shared =
        parse_disk("<disk><target dev='vda'/><readonly/><shareable/></disk>");
    g_autoptr(domain_disk_t) floppy =
        parse_disk("<disk device='floppy'><target dev='fda'/></disk>");
    g_autoptr(domain_disk_t) lun = parse_disk("<disk device='lun'><target dev='sda'/></disk>");

    g_assert_false(plain->is_readonly || plain->is_shareable || plain->is_removable);
    g_assert_true(shared->is_readonly && shared->is_shareable);
    g_assert_true(floppy->is_removable);
    g_assert_false(lun->is_removable);
}

static void
test_an_empty_drive_has_no_source(void)
{
    static const char two_lines[] =
        "<disk type='block' device='cdrom'><source startupPolicy='optional'/><target dev='hda'/>"
        "<backingStore/></disk>";
    static const char *const drives[] = {
        "<disk type='file' device='cdrom'><target dev='hda'/></disk>",
        "<disk type='file' device='cdrom'><source/><target dev='hda'/></disk>",
        two_lines,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(drives); i++) {
        g_autoptr(domain_disk_t) disk = parse_disk(drives[i]);

        g_assert_cmpuint(disk->sources->len, ==, 0);
    }
}

static void
test_the_encryption_of_what_is_not_ours_is_left_alone(void)
{
    g_autoptr(domain_disk_t) disk = parse_disk(
        "<disk type='network'><source protocol='rbd' name='p/v'>"
        "<encryption format='newer'><x/></encryption></source><target dev='vda'/></disk>");

    g_assert_cmpint(source_of(disk, 0)->type, ==, DISK_SOURCE_OTHER);
    g_assert_null(source_of(disk, 0)->encryption);
}

static void
test_an_encryption_that_is_not_understood_is_an_error_with_the_disk(void)
{
    expect_refused(DOMAIN("<devices><disk type='file'><source file='/a'>"
                          "<encryption format='rot13'/></source><target dev='vdb'/></disk>"
                          "</devices>"),
                   ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                   "disk vdb: unknown volume encryption format type rot13; it is 'default', "
                   "'qcow', 'luks', 'luks2', 'luks-any', or with engine='dm-crypt' 'plain'");
}

static void
test_a_domain_without_disks_is_fine(void)
{
    g_autoptr(domain_disks_t) none = parse(DOMAIN(""));
    g_autoptr(domain_disks_t) empty = parse(DOMAIN("<devices/>"));

    g_assert_cmpuint(none->disks->len, ==, 0);
    g_assert_cmpuint(empty->disks->len, ==, 0);
}

static void
test_what_is_no_domain_is_refused(void)
{
    expect_refused("<pool/>", ERROR_XML, ERROR_FROM_DOMAIN,
                   "expecting an element 'domain', alone or in 'domstatus'");
    expect_refused("<domstatus/>", ERROR_XML, ERROR_FROM_DOMAIN,
                   "expecting an element 'domain', alone or in 'domstatus'");
    expect_refused("<domain><name>g</name></domain>", ERROR_XML, ERROR_FROM_DOMAIN,
                   "the domain's XML has no valid <name> and <uuid>");
    expect_refused(DOMAIN("<devices><disk/></devices>"), ERROR_XML, ERROR_FROM_DOMAIN,
                   "a disk has no name: <target dev='...'/> is missing");
}

static void
test_entities_are_refused_before_they_expand(void)
{
    expect_refused("<!DOCTYPE domain [<!ENTITY a 'x'>]><domain/>", ERROR_XML, ERROR_FROM_DOMAIN,
                   "(domain_definition) has a document type declaration (<!DOCTYPE ...>), which is "
                   "not allowed; remove it");
}

static void
test_a_chain_of_endless_depth_is_refused(void)
{
    g_autoptr(GString) xml = g_string_new("<disk><target dev='vda'/>");
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 100000; i++)
        g_string_append(xml, "<backingStore>");
    g_assert_null(domain_disk_parse(xml->str, xml->len, &error));
    g_assert_cmpint(error_get_code(error), ==, ERROR_XML_DETAIL);
}

#define ADD(name) g_test_add_func("/conf/domain_disks/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_running_guests_status_is_read);
    ADD(a_volume_its_backing_file_and_its_mirror_are_sources);
    ADD(encryption_beside_the_source_is_the_sources);
    ADD(encryption_within_each_source_is_read);
    ADD(a_mirror_of_an_old_libvirt_is_a_source);
    ADD(a_file_of_data_alone_is_a_source);
    ADD(flags_of_a_disk_are_read);
    ADD(an_empty_drive_has_no_source);
    ADD(the_encryption_of_what_is_not_ours_is_left_alone);
    ADD(an_encryption_that_is_not_understood_is_an_error_with_the_disk);
    ADD(a_domain_without_disks_is_fine);
    ADD(what_is_no_domain_is_refused);
    ADD(entities_are_refused_before_they_expand);
    ADD(a_chain_of_endless_depth_is_refused);
    return g_test_run();
}
