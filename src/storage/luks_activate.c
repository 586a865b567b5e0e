/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening containers as device-mapper devices, and what can be done only through an open one.
 *
 * Keyslots are opened before the lock is taken (that may take seconds), mappings are made under it.
 * Mappings are private to udev's rules: what a guest wrote on its disk is no business of the
 * host's, which would otherwise start volume groups and RAIDs found there. libdevmapper waits for
 * udev where udevd runs, and makes the nodes itself where not.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/luks.h"
#include "storage/luks_cipher.h"
#include "storage/luks_context.h"
#include "storage/luks_kdf.h"
#include "storage/luks_keyslot.h"
#include "storage/luks_limits.h"
#include "storage/luks_mapping.h"
#include "util/error.h"

enum { SECTOR = 512, WIPE_BLOCK = 1024 * 1024 };

/* libcryptsetup hands a LUKS2 volume key to the kernel in the keyring of the calling thread, which
 * lives on in a pool of threads; the mapping has its own copy. */
static void
forget_keyring(void)
{
    syscall(SYS_keyctl, KEYCTL_CLEAR, KEY_SPEC_THREAD_KEYRING);
}

static uint32_t
activation_flags(const struct luks_open_params *params)
{
    const struct encryption *encryption = params->encryption;
    uint32_t flags = CRYPT_ACTIVATE_PRIVATE;

    if (params->is_readonly)
        flags |= CRYPT_ACTIVATE_READONLY;
    if (!encryption)
        return flags;
    if (encryption->dmcrypt.discard)
        flags |= CRYPT_ACTIVATE_ALLOW_DISCARDS;
    if (encryption->dmcrypt.no_read_workqueue)
        flags |= CRYPT_ACTIVATE_NO_READ_WORKQUEUE;
    if (encryption->dmcrypt.no_write_workqueue)
        flags |= CRYPT_ACTIVATE_NO_WRITE_WORKQUEUE;
    if (encryption->dmcrypt.same_cpu_crypt)
        flags |= CRYPT_ACTIVATE_SAME_CPU_CRYPT;
    if (encryption->dmcrypt.submit_from_crypt_cpus)
        flags |= CRYPT_ACTIVATE_SUBMIT_FROM_CRYPT_CPUS;
    return flags;
}

/* Held: the lock. */
static bool
check_name_free(const char *name, GError **error)
{
    g_auto(luks_mapping_t) mapping = {0};

    luks_mapping_remove_unfinished(name);
    if (!luks_find_mapping(name, &mapping, error))
        return false;
    if (!mapping.is_open)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID, "/dev/mapper/%s is open already",
              name);
    return false;
}

static bool
activate_luks(const struct luks_context *context, const char *name, uint32_t flags,
              const struct secret_buf *volume_key, GError **error)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(luks_context_get_lock());
    int result;

    if (!check_name_free(name, error))
        return false;
    result = crypt_activate_by_volume_key(context->crypt, name,
                                          (const char *)secret_buf_bytes(volume_key),
                                          secret_buf_len(volume_key), flags);
    forget_keyring();
    if (result >= 0)
        return true;
    luks_context_set_error(context, result, "opening the encryption", error);
    return false;
}

static bool
check_type(const struct luks_context *context, enum luks_type type, GError **error)
{
    bool is_luks2 = luks_context_is_luks2(context);

    if (type == LUKS_NONE || is_luks2 == (type == LUKS_2))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "the header of '%s' is %s, another than the volume was made with", context->path,
              is_luks2 ? "LUKS2" : "LUKS1");
    return false;
}

static bool
open_luks(const struct luks_place *place, const char *name, const struct luks_open_params *params,
          const struct secret_buf *key, GError **error)
{
    g_auto(luks_context_t) context = {NULL};
    g_autoptr(secret_buf_t) volume_key = NULL;

    return luks_context_load(&context, place, error) && check_type(&context, params->type, error) &&
           luks_keyslot_open(&context, key, &volume_key, error) >= 0 &&
           activate_luks(&context, name, activation_flags(params), volume_key, error);
}

static bool
open_plain(const struct luks_place *place, const char *name, const struct luks_open_params *params,
           const struct secret_buf *key, GError **error)
{
    g_auto(luks_cipher_t) cipher = {NULL};
    g_auto(luks_context_t) context = {NULL};
    g_autoptr(GMutexLocker) locker = NULL;
    struct crypt_params_plain plain = {0};
    int result;

    if (!luks_cipher_init(&cipher, LUKS_PLAIN, params->encryption, false, error) ||
        !luks_context_init(&context, place, error))
        return false;
    plain.hash = cipher.hash;
    plain.sector_size = cipher.sector_size;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    locker = g_mutex_locker_new(luks_context_get_lock());
    if (!check_name_free(name, error))
        return false;
    result = crypt_format(context.crypt, CRYPT_PLAIN, cipher.name, cipher.mode, NULL, NULL,
                          cipher.key_bytes, &plain);
    if (result >= 0)
        result = crypt_activate_by_passphrase(context.crypt, name, CRYPT_ANY_SLOT,
                                              (const char *)secret_buf_bytes(key),
                                              secret_buf_len(key), activation_flags(params));
    if (result < 0)
        luks_context_set_error(&context, result, "opening the encryption", error);
    return result >= 0;
}

bool
luks_open(const struct luks_place *place, const char *name, const struct luks_open_params *params,
          const struct secret_buf *key, GError **error)
{
    return luks_check_kernel(error) &&
           (params->type == LUKS_PLAIN ? open_plain(place, name, params, key, error)
                                       : open_luks(place, name, params, key, error));
}

/* The context of an open mapping. */
static bool
context_of_mapping(struct luks_context *context, const struct luks_place *place, const char *name,
                   GError **error)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(luks_context_get_lock());
    struct crypt_device *crypt = NULL;
    int result;

    memset(context, 0, sizeof(*context));
    context->path = place->header_path ? place->header_path : place->device;
    result = crypt_init_by_name_and_header(&crypt, name, place->header_path);
    if (result < 0) {
        luks_context_set_error(context, result, "finding the mapping", error);
        return false;
    }
    luks_context_take(context, crypt);
    return true;
}

bool
luks_resize(const struct luks_place *place, const char *name, uint64_t size,
            const struct secret_buf *key, GError **error)
{
    g_auto(luks_context_t) context = {NULL};
    struct crypt_active_device active = {0};
    g_autoptr(GMutexLocker) locker = NULL;
    int result;

    if (!context_of_mapping(&context, place, name, error))
        return false;
    if (g_strcmp0(crypt_get_type(context.crypt), CRYPT_PLAIN) != 0 &&
        (!luks_limits_check(&context, error) || luks_keyslot_open(&context, key, NULL, error) < 0))
        return false;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    locker = g_mutex_locker_new(luks_context_get_lock());
    result = crypt_get_active_device(context.crypt, name, &active);
    /* The kernel's new table needs the volume key in this thread's keyring again. */
    if (result >= 0 && (active.flags & CRYPT_ACTIVATE_KEYRING_KEY))
        result = crypt_activate_by_passphrase(context.crypt, NULL, CRYPT_ANY_SLOT,
                                              (const char *)secret_buf_bytes(key),
                                              secret_buf_len(key), CRYPT_ACTIVATE_KEYRING_KEY);
    if (result >= 0)
        result = crypt_resize(context.crypt, name, size / SECTOR);
    forget_keyring();
    if (result < 0)
        luks_context_set_error(&context, result, "resizing the mapping", error);
    return result >= 0;
}

/* For crypt_wipe: not 0 stops it. */
static int
report_wipe(uint64_t size, uint64_t offset, void *opaque)
{
    storage_progress_set(opaque, offset, size);
    return storage_progress_check(opaque, NULL) ? 0 : 1;
}

bool
luks_init_integrity(const struct luks_place *place, const char *name, const struct secret_buf *key,
                    struct storage_progress *progress, GError **error)
{
    g_autofree char *path = g_build_filename("/dev/mapper", name, NULL);
    g_auto(luks_context_t) context = {NULL};
    g_autoptr(secret_buf_t) volume_key = NULL;
    int result;

    if (!luks_check_kernel(error) || !luks_context_load(&context, place, error) ||
        luks_keyslot_open(&context, key, &volume_key, error) < 0 ||
        !activate_luks(&context, name, CRYPT_ACTIVATE_PRIVATE | CRYPT_ACTIVATE_NO_JOURNAL,
                       volume_key, error))
        return false;
    result = crypt_wipe(context.crypt, path, CRYPT_WIPE_ZERO, 0, 0, WIPE_BLOCK, 0, report_wipe,
                        progress);
    if (result >= 0)
        return luks_close(name, error);
    luks_close(name, NULL);
    if (storage_progress_check(progress, error))
        luks_context_set_error(&context, result, "writing the first checksums", error);
    return false;
}
