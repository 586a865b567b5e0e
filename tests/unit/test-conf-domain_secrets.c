/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which secrets a domain, its snapshots and its checkpoints refer to, in XML as libvirt 9 writes
 * it.
 */
#include <string.h>

#include "conf/domain_secrets.h"
#include "expect.h"

#define GUEST  "0bd8f1a4-1111-4222-8333-444455556666"
#define ONE    "d9a3c9a0-1111-4222-8333-000000000001"
#define TWO    "d9a3c9a0-1111-4222-8333-000000000002"
#define THREE  "d9a3c9a0-1111-4222-8333-000000000003"
#define FOUR   "d9a3c9a0-1111-4222-8333-000000000004"
#define INSIDE "<name>web1</name><uuid>" GUEST "</uuid>"
#define DOMAIN(devices)                                                                            \
    "<domain type='qemu' id='3'>" INSIDE "<memory unit='KiB'>1024</memory><devices>" devices       \
    "</devices></domain>"
#define LUKS(uuid)                                                                                 \
    "<encryption format='luks'><secret type='passphrase' uuid='" uuid "'/></encryption>"

static struct domain_secrets *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct domain_secrets *found = domain_secrets_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return found;
}

static const struct domain_secret *
secret_of(const struct domain_secrets *found, guint index)
{
    g_assert_cmpuint(index, <, found->secrets->len);
    return found->secrets->pdata[index];
}

/* `name` is a uuid, or a usage of that type. */
static void
expect_secret(const struct domain_secrets *found, guint index, const char *place, const char *name,
              enum secret_usage_type type, const char *volume)
{
    const struct domain_secret *secret = secret_of(found, index);
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(secret->place, ==, place);
    g_assert_cmpstr(secret->has_uuid ? uuid_format(&secret->uuid, uuid) : secret->usage, ==, name);
    g_assert_cmpint(secret->usage_type, ==, type);
    g_assert_cmpstr(secret->volume, ==, volume);
    g_assert_cmpint(secret->is_encryption, ==,
                    type == SECRET_USAGE_VOLUME || type == SECRET_USAGE_VTPM);
}

static void
expect_source(const struct domain_secrets *found, guint index, const char *path, const char *format)
{
    const struct disk_source *source;

    g_assert_cmpuint(index, <, found->sources->len);
    source = found->sources->pdata[index];
    g_assert_cmpstr(source->path, ==, path);
    g_assert_cmpstr(source->format, ==, format);
}

static void
expect_refused(const char *xml, const char *detail)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(domain_secrets_parse(xml, strlen(xml), &error));
    expect_error(error, ERROR_XML, ERROR_FROM_DOMAIN, detail);
}

/* A guest that runs, while blockcopy has not ended. */
static const char running[] =
    DOMAIN("<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>"
           "<source file='/i/top.qcow2' index='3'>" LUKS(
               ONE) "<privateData/></source>"
                    "<backingStore type='file' index='2'><format type='qcow2'/><source "
                    "file='/i/base.qcow2'>" LUKS(
                        TWO) "</source><backingStore/></backingStore>"
                             "<mirror type='file' file='/i/copy.qcow2' format='qcow2' job='copy' "
                             "ready='yes'>"
                             "<format type='qcow2'/><source file='/i/copy.qcow2' index='5'>" LUKS(
                                 THREE) "</source>"
                                        "<backingStore/></mirror>"
                                        "<target dev='vda' bus='virtio'/><alias "
                                        "name='virtio-disk0'/></disk>"
                                        "<disk type='volume' device='disk'><driver name='qemu' "
                                        "type='raw'/>"
                                        "<source pool='images' volume='data'/>"
                                        "<encryption format='luks'><secret type='passphrase' "
                                        "usage='/i/data'/></encryption>"
                                        "<target dev='vdb' bus='virtio'/></disk>"
                                        "<disk type='file' device='cdrom'><driver "
                                        "name='qemu'/><target dev='sda' bus='sata'/>"
                                        "<readonly/></disk>");

static void
test_a_disk_refers_by_itself_its_chain_and_its_mirror(void)
{
    g_autoptr(domain_secrets_t) found = parse(running);
    char uuid[UUID_TEXT_SIZE];

    g_assert_cmpstr(found->name, ==, "web1");
    g_assert_cmpstr(uuid_format(&found->uuid, uuid), ==, GUEST);
    g_assert_cmpuint(found->secrets->len, ==, 4);
    expect_secret(found, 0, "disk vda", ONE, SECRET_USAGE_VOLUME, "/i/top.qcow2");
    expect_secret(found, 1, "disk vda", TWO, SECRET_USAGE_VOLUME, "/i/base.qcow2");
    expect_secret(found, 2, "disk vda", THREE, SECRET_USAGE_VOLUME, "/i/copy.qcow2");
    expect_secret(found, 3, "disk vdb", "/i/data", SECRET_USAGE_VOLUME, "images/data");
}

static void
test_all_that_is_opened_is_listed(void)
{
    g_autoptr(domain_secrets_t) found = parse(running);
    const struct disk_source *volume;

    g_assert_cmpuint(found->sources->len, ==, 4);
    expect_source(found, 0, "/i/top.qcow2", "qcow2");
    expect_source(found, 1, "/i/base.qcow2", "qcow2");
    expect_source(found, 2, "/i/copy.qcow2", "qcow2");
    expect_source(found, 3, NULL, "raw");
    volume = found->sources->pdata[3];
    g_assert_cmpstr(volume->pool, ==, "images");
    g_assert_cmpstr(volume->volume, ==, "data");
}

static void
test_the_file_of_a_running_guest_is_read_too(void)
{
    g_autofree char *xml = g_strconcat("<domstatus state='running' reason='booted' pid='7'>",
                                       running, "</domstatus>", NULL);
    g_autoptr(domain_secrets_t) found = parse(xml);

    g_assert_cmpuint(found->secrets->len, ==, 4);
}

static void
test_an_external_data_file_is_opened(void)
{
    g_autoptr(domain_secrets_t) found = parse(
        DOMAIN("<disk type='file'><driver type='qcow2'/><source file='/i/a'>"
               "<dataStore type='block'><format type='raw'/><source dev='/dev/d'/></dataStore>"
               "</source><target dev='vda'/></disk>"));

    g_assert_cmpuint(found->secrets->len, ==, 0);
    expect_source(found, 1, "/dev/d", "raw");
}

static void
test_network_disks_have_credentials_and_may_be_encrypted(void)
{
    g_autoptr(domain_secrets_t) found = parse(
        DOMAIN("<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
               "<auth username='admin'><secret type='ceph' uuid='" ONE "'/></auth>"
               "<source protocol='rbd' name='pool/image'><host name='h' port='6789'/>"
               "<encryption format='luks2' engine='librbd'>"
               "<secret type='passphrase' uuid='" TWO "'/>"
               "<secret type='passphrase' uuid='" THREE "'/></encryption></source>"
               "<target dev='vda' bus='virtio'/></disk>"
               "<disk type='network'><source protocol='iscsi' name='iqn.2013-07.com.example:t/1'>"
               "<host name='h' port='3260'/><auth username='u'><secret type='iscsi' usage='t'/>"
               "</auth></source><target dev='vdb'/></disk>"
               "<disk type='network'><source protocol='nbd' name='x'><host name='h'/></source>"
               "<target dev='vdc'/></disk>"));

    g_assert_cmpuint(found->secrets->len, ==, 4);
    expect_secret(found, 0, "disk vda", TWO, SECRET_USAGE_VOLUME, NULL);
    expect_secret(found, 1, "disk vda", THREE, SECRET_USAGE_VOLUME, NULL);
    expect_secret(found, 2, "disk vda", ONE, SECRET_USAGE_CEPH, NULL);
    expect_secret(found, 3, "disk vdb", "t", SECRET_USAGE_ISCSI, NULL);
}

static void
test_a_host_device_may_be_an_iscsi_target_with_credentials(void)
{
    g_autoptr(domain_secrets_t) found = parse(DOMAIN(
        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address bus='0'/>"
        "</source></hostdev>"
        "<hostdev mode='subsystem' type='scsi' managed='no'>"
        "<source protocol='iscsi' name='iqn.1992-01.com.example'><host name='e' port='3260'/>"
        "<auth username='u'><secret type='iscsi' uuid='" ONE "'/></auth></source>"
        "<address type='drive'/></hostdev>"));

    g_assert_cmpuint(found->secrets->len, ==, 1);
    expect_secret(found, 0, "hostdev 1", ONE, SECRET_USAGE_ISCSI, NULL);
}

static void
test_the_state_of_a_tpm_may_be_encrypted(void)
{
    g_autoptr(domain_secrets_t) found =
        parse(DOMAIN("<tpm model='tpm-crb'><backend type='emulator' version='2.0'>"
                     "<encryption secret='" ONE "'/><active_pcr_banks><sha256/></active_pcr_banks>"
                     "</backend></tpm>"
                     "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/>"
                     "</backend></tpm>"));

    g_assert_cmpuint(found->secrets->len, ==, 1);
    expect_secret(found, 0, "tpm", ONE, SECRET_USAGE_VTPM, NULL);
}

static void
test_a_snapshot_refers_by_both_of_its_domains_and_its_own_disks(void)
{
    g_autoptr(domain_secrets_t) found = parse(
        "<domainsnapshot><name>s1</name><state>running</state><creationTime>1</creationTime>"
        "<memory snapshot='internal'/><disks><disk name='vda' snapshot='external' type='file'>"
        "<driver type='qcow2'/><source file='/i/top.s1'>" LUKS(
            ONE) "</source></disk>"
                 "<disk name='vdb' snapshot='no'/></disks>" DOMAIN(
                     "<disk type='file'><driver type='qcow2'/><source file='/i/top'>" LUKS(
                         TWO) "</source>"
                              "<target dev='vda'/></disk>") "<inactiveDomain type='qemu'>" INSIDE
                                                            "<devices><disk type='file'><driver "
                                                            "type='qcow2'/><source "
                                                            "file='/i/old'>" LUKS(
                                                                THREE) "</source><target "
                                                                       "dev='vda'/></disk></"
                                                                       "devices></inactiveDomain>"
                                                                       "<cookie><cpu/></cookie></"
                                                                       "domainsnapshot>");

    g_assert_cmpstr(found->name, ==, "web1");
    g_assert_cmpuint(found->secrets->len, ==, 3);
    expect_secret(found, 0, "disk vda", TWO, SECRET_USAGE_VOLUME, "/i/top");
    expect_secret(found, 1, "disk vda", THREE, SECRET_USAGE_VOLUME, "/i/old");
    expect_secret(found, 2, "disk vda", ONE, SECRET_USAGE_VOLUME, "/i/top.s1");
}

static void
test_a_checkpoint_refers_by_its_domain(void)
{
    g_autoptr(domain_secrets_t) found = parse(
        "<domaincheckpoint><name>c1</name><disks><disk name='vda' checkpoint='bitmap' bitmap='c1'/>"
        "</disks>" DOMAIN("<disk type='block'><source dev='/dev/d'>" LUKS(
            FOUR) "</source><target dev='vda'/></disk>") "</domaincheckpoint>");

    g_assert_cmpuint(found->secrets->len, ==, 1);
    expect_secret(found, 0, "disk vda", FOUR, SECRET_USAGE_VOLUME, "/dev/d");
}

static void
test_an_old_snapshot_says_little_of_its_domain(void)
{
    g_autoptr(domain_secrets_t) old =
        parse("<domainsnapshot><name>s</name><domain><uuid>" GUEST "</uuid></domain>"
              "</domainsnapshot>");
    g_autoptr(domain_secrets_t) none = parse("<domainsnapshot><name>s</name></domainsnapshot>");

    g_assert_null(old->name);
    g_assert_null(none->name);
    g_assert_cmpuint(none->secrets->len, ==, 0);
}

static void
test_what_is_malformed_is_refused(void)
{
    expect_refused("<network/>", "expecting an element 'domain' (alone or in 'domstatus'), "
                                 "'domainsnapshot' or 'domaincheckpoint'");
    expect_refused("<domstatus/>", "expecting an element 'domain' (alone or in 'domstatus'), "
                                   "'domainsnapshot' or 'domaincheckpoint'");
    expect_refused("<domain><name>x</name></domain>", "the domain's XML has no valid <uuid>");
    expect_refused(
        DOMAIN("<disk type='file'><source file='/i'>" LUKS("x") "</source>"
                                                                "<target dev='vda'/></disk>"),
        "disk vda: the secret 'x' is no UUID");
    expect_refused(DOMAIN("<disk type='file'><source file='/i'><encryption format='luks'>"
                          "<secret type='passphrase'/></encryption></source><target dev='vda'/>"
                          "</disk>"),
                   "disk vda: a <secret> has neither uuid nor usage");
    expect_refused(DOMAIN("<tpm><backend type='emulator'><encryption/></backend></tpm>"),
                   "tpm: the secret '' is no UUID");
}

static void
test_too_much_is_refused_unread(void)
{
    g_autofree char *xml = g_malloc0(DOMAIN_XML_MAX + 1);
    g_autoptr(GError) error = NULL;

    g_assert_null(domain_secrets_parse(xml, DOMAIN_XML_MAX + 1, &error));
    expect_error(error, ERROR_XML, ERROR_FROM_DOMAIN,
                 "the definition of the domain has 16777217 bytes, which is more than 16777216");
}

#define ADD(name) g_test_add_func("/conf/domain_secrets/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_disk_refers_by_itself_its_chain_and_its_mirror);
    ADD(all_that_is_opened_is_listed);
    ADD(the_file_of_a_running_guest_is_read_too);
    ADD(an_external_data_file_is_opened);
    ADD(network_disks_have_credentials_and_may_be_encrypted);
    ADD(a_host_device_may_be_an_iscsi_target_with_credentials);
    ADD(the_state_of_a_tpm_may_be_encrypted);
    ADD(a_snapshot_refers_by_both_of_its_domains_and_its_own_disks);
    ADD(a_checkpoint_refers_by_its_domain);
    ADD(an_old_snapshot_says_little_of_its_domain);
    ADD(what_is_malformed_is_refused);
    ADD(too_much_is_refused_unread);
    return g_test_run();
}
