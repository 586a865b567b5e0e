/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see storage_calls.h.
 */
#include "driver/storage_calls.h"

#include "driver/storage_client.h"
#include "rpc/protocol/virtcrypt_volume_client.h"
#include "util/error.h"

enum { LIST_PAGES_MAX = 1000 };

/* A connection for the length of one function. */
typedef struct rpc_client borrowed_client_t;

static void
borrowed_client_release(struct rpc_client *client)
{
    storage_client_release(storage_module_get()->clients, client);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(borrowed_client_t, borrowed_client_release)

static struct rpc_client *
borrow(GError **error)
{
    return storage_client_acquire(storage_module_get()->clients, error);
}

static struct virtcrypt_volume_ref
volume_ref(const char *pool, const char *name)
{
    return (struct virtcrypt_volume_ref){.pool = (char *)pool, .name = (char *)name};
}

static struct virtcrypt_volume_ref_args
ref_args(const char *pool, const char *name)
{
    return (struct virtcrypt_volume_ref_args){.volume = volume_ref(pool, name)};
}

bool
storage_calls_get(const char *pool, const char *name, struct virtcrypt_volume_entry *ret_entry,
                  GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_ref_args args = ref_args(pool, name);
    struct virtcrypt_volume_get_ret answer = {0};

    if (!client || !virtcrypt_volume_get_call(client, &args, &answer, error))
        return false;
    *ret_entry = answer.volume;
    return true;
}

bool
storage_calls_get_by_path(const char *path, struct virtcrypt_volume_entry *ret_entry,
                          GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_get_by_path_args args = {.path = (char *)path};
    struct virtcrypt_volume_get_ret answer = {0};

    if (!client || !virtcrypt_volume_get_by_path_call(client, &args, &answer, error))
        return false;
    *ret_entry = answer.volume;
    return true;
}

bool
storage_calls_get_info(const char *pool, const char *name,
                       struct virtcrypt_volume_get_info_ret *ret_info, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_ref_args args = ref_args(pool, name);

    return client && virtcrypt_volume_get_info_call(client, &args, ret_info, error);
}

char *
storage_calls_get_xml(const char *pool, const char *name, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_ref_args args = ref_args(pool, name);
    struct virtcrypt_volume_get_xml_desc_ret answer = {0};

    if (!client || !virtcrypt_volume_get_xml_desc_call(client, &args, &answer, error))
        return NULL;
    return answer.xml;
}

static void
free_entry(void *opaque)
{
    virtcrypt_volume_entry_clear(opaque);
    g_free(opaque);
}

/* Moves the entries of a page to `entries`. */
static void
take_page(GPtrArray *entries, struct virtcrypt_volume_list_ret *page)
{
    for (uint32_t i = 0; i < page->volumes_len; i++) {
        struct virtcrypt_volume_entry *entry = g_new(struct virtcrypt_volume_entry, 1);

        *entry = page->volumes[i];
        page->volumes[i] = (struct virtcrypt_volume_entry){0};
        g_ptr_array_add(entries, entry);
    }
    virtcrypt_volume_list_ret_clear(page);
}

GPtrArray *
storage_calls_list(const char *pool, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(free_entry);
    bool has_more = client != NULL;

    for (int pages = 0; has_more && pages < LIST_PAGES_MAX; pages++) {
        struct virtcrypt_volume_list_ret page = {0};
        struct virtcrypt_volume_ref after = {0};
        const struct virtcrypt_volume_list_args args = {
            .pool = (char *)pool,
            .after = entries->len > 0 ? &after : NULL,
            .max = VIRTCRYPT_VOLUME_PAGE_MAX,
        };

        if (entries->len > 0) {
            const struct virtcrypt_volume_entry *last =
                g_ptr_array_index(entries, entries->len - 1);

            after = volume_ref(last->pool, last->name);
        }
        if (!virtcrypt_volume_list_call(client, &args, &page, error))
            return NULL;
        has_more = page.more && page.volumes_len > 0;
        take_page(entries, &page);
    }
    return client ? g_steal_pointer(&entries) : NULL;
}

/* Waits until the job is done; `job` is what began it or what was last told of it. Clears `job`. */
static bool
finish_job(struct rpc_client *client, struct virtcrypt_volume_job_ret *job,
           struct virtcrypt_volume_entry *ret_entry, GError **error)
{
    while (!job->done) {
        const struct virtcrypt_volume_job_wait_args args = {.job = job->job};

        virtcrypt_volume_job_ret_clear(job);
        if (!virtcrypt_volume_job_wait_call(client, &args, job, error))
            return false;
    }
    for (uint32_t i = 0; i < job->warnings_len; i++)
        storage_module_warn("%s", job->warnings[i]);
    if (ret_entry && job->volume) {
        *ret_entry = *job->volume;
        *job->volume = (struct virtcrypt_volume_entry){0};
    }
    virtcrypt_volume_job_ret_clear(job);
    return true;
}

bool
storage_calls_wants(const struct storage_new_volume *volume, bool *ret_wants, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    struct virtcrypt_volume_ref source = volume_ref(volume->source_pool, volume->source_name);
    const struct virtcrypt_volume_wants_args args = {
        .pool = (char *)volume->pool,
        .xml = (char *)volume->xml,
        .source = volume->source_name ? &source : NULL,
        .flags = volume->flags,
    };
    struct virtcrypt_volume_wants_ret answer = {0};

    if (!client || !virtcrypt_volume_wants_call(client, &args, &answer, error))
        return false;
    *ret_wants = answer.wants;
    return true;
}

bool
storage_calls_create(const struct storage_new_volume *volume,
                     struct virtcrypt_volume_entry *ret_entry, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    g_autoptr(secret_buf_t) no_key = client ? secret_buf_new(0, error) : NULL;
    struct virtcrypt_volume_ref source = volume_ref(volume->source_pool, volume->source_name);
    const struct virtcrypt_volume_create_args args = {
        .pool = (char *)volume->pool,
        .xml = (char *)volume->xml,
        .source = volume->source_name ? &source : NULL,
        .source_path = (char *)volume->source_path,
        .source_format = (char *)volume->source_format,
        .flags = volume->flags,
        .key = no_key,
    };
    struct virtcrypt_volume_job_ret job = {0};

    return no_key && virtcrypt_volume_create_call(client, &args, &job, error) &&
           finish_job(client, &job, ret_entry, error);
}

bool
storage_calls_delete(const char *pool, const char *name, unsigned int flags, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    struct virtcrypt_volume_ref_args args = ref_args(pool, name);
    struct virtcrypt_volume_job_ret job = {0};

    args.flags = flags;
    return client && virtcrypt_volume_delete_call(client, &args, &job, error) &&
           finish_job(client, &job, NULL, error);
}

bool
storage_calls_wipe(const char *pool, const char *name, unsigned int algorithm, unsigned int flags,
                   GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_wipe_args args = {
        .volume = volume_ref(pool, name),
        .algorithm = algorithm,
        .flags = flags,
    };
    struct virtcrypt_volume_job_ret job = {0};

    return client && virtcrypt_volume_wipe_call(client, &args, &job, error) &&
           finish_job(client, &job, NULL, error);
}

bool
storage_calls_resize(const char *pool, const char *name, unsigned long long capacity,
                     unsigned int flags, GError **error)
{
    g_autoptr(borrowed_client_t) client = borrow(error);
    const struct virtcrypt_volume_resize_args args = {
        .volume = volume_ref(pool, name),
        .capacity = capacity,
        .flags = flags,
    };
    struct virtcrypt_volume_job_ret job = {0};

    return client && virtcrypt_volume_resize_call(client, &args, &job, error) &&
           finish_job(client, &job, NULL, error);
}
