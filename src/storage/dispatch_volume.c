/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that are jobs, the table of all, and what they share.
 */
#include <string.h>

#include "storage/dispatch.h"
#include "util/error.h"

/* virStorageVolCreateFlags, and ours. */
enum {
    CREATE_FLAGS = STORAGE_CREATE_PREALLOC_METADATA | STORAGE_CREATE_REFLINK |
                   STORAGE_CREATE_VALIDATE | STORAGE_CREATE_OVERWRITE | STORAGE_CREATE_DECRYPT |
                   STORAGE_CREATE_NEW_KEY,
    RESIZE_FLAGS = STORAGE_RESIZE_ALLOCATE | STORAGE_RESIZE_DELTA | STORAGE_RESIZE_SHRINK,
};

/* ---- what handlers share ---- */

bool
dispatch_check_flags(const char *call, uint32_t flags, uint32_t known, GError **error)
{
    if ((flags & ~known) == 0)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG, "unsupported flags (0x%x) of %s",
              flags & ~known, call);
    return false;
}

void
dispatch_describe_volume(const struct storage_volume *volume,
                         struct virtcrypt_volume_entry *ret_entry)
{
    ret_entry->pool = g_strdup(volume->pool);
    ret_entry->name = g_strdup(volume->name);
    ret_entry->path = g_strdup(volume->path ? volume->path : "");
    ret_entry->kind = (int32_t)volume->kind;
    if (!volume->is_cleartext)
        ret_entry->secret = g_memdup2(volume->secret.bytes, sizeof(volume->secret.bytes));
    ret_entry->secret_is_generated = volume->secret_is_generated;
    ret_entry->is_open = volume->is_open;
    ret_entry->users = g_strdup(volume->users);
    ret_entry->state = g_strdup(volume->state);
}

/* ---- jobs: copies of their arguments ---- */

struct volume_job {
    struct storage_service *service;
    char *pool;
    char *name; /* or the XML */
    char *source_pool;
    char *source_volume;
    char *source_path;
    char *source_format;
    struct secret_buf *key;
    uint64_t capacity;
    unsigned int flags; /* or the algorithm */
};

static void
volume_job_free(void *opaque)
{
    struct volume_job *job = opaque;

    g_free(job->pool);
    g_free(job->name);
    g_free(job->source_pool);
    g_free(job->source_volume);
    g_free(job->source_path);
    g_free(job->source_format);
    secret_buf_free(job->key);
    g_free(job);
}

typedef bool (*volume_job_func)(void *opaque, struct storage_progress *progress,
                                struct storage_volume **ret_volume, GError **error);

/* Takes `job`. */
static enum rpc_outcome
start(struct storage_dispatch *dispatch, struct rpc_call *call, struct volume_job *job,
      volume_job_func run, GError **error)
{
    const struct dispatch_job_request request = {
        .run = run,
        .opaque = job,
        .free = volume_job_free,
    };

    return dispatch_job_start(dispatch->jobs, call, &request, error);
}

static struct volume_job *
volume_job_new(const struct storage_dispatch *dispatch, const char *pool, const char *name)
{
    struct volume_job *job = g_new0(struct volume_job, 1);

    job->service = dispatch->service;
    job->pool = g_strdup(pool);
    job->name = g_strdup(name);
    return job;
}

/* ---- create, adopt ---- */

static struct volume_job *
create_job_new(const struct storage_dispatch *dispatch, struct virtcrypt_volume_create_args *args)
{
    struct volume_job *job = volume_job_new(dispatch, args->pool, args->xml);

    if (args->source) {
        job->source_pool = g_strdup(args->source->pool);
        job->source_volume = g_strdup(args->source->name);
    }
    job->source_path = g_strdup(args->source_path);
    job->source_format = g_strdup(args->source_format);
    job->flags = args->flags;
    if (args->key && secret_buf_len(args->key) > 0)
        job->key = g_steal_pointer(&args->key);
    return job;
}

static struct storage_create_request
request_of(const struct volume_job *job)
{
    return (struct storage_create_request){
        .pool = job->pool,
        .xml = job->name,
        .source_pool = job->source_pool,
        .source_volume = job->source_volume,
        .key = job->key,
        .source_path = job->source_path,
        .source_format = job->source_format,
        .flags = job->flags,
    };
}

static bool
run_create(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
           GError **error)
{
    struct volume_job *job = opaque;
    const struct storage_create_request request = request_of(job);

    *ret_volume = storage_service_create(job->service, &request, progress, error);
    return *ret_volume != NULL;
}

static enum rpc_outcome
create(struct rpc_call *call, void *opaque, struct virtcrypt_volume_create_args *args,
       struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    if (!dispatch_check_flags("create", args->flags, CREATE_FLAGS, error))
        return RPC_FAILED;
    return start(dispatch, call, create_job_new(dispatch, args), run_create, error);
}

static bool
run_adopt(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
          GError **error)
{
    struct volume_job *job = opaque;
    const struct storage_create_request request = request_of(job);

    *ret_volume = storage_service_adopt(job->service, &request, error);
    return *ret_volume != NULL;
}

static enum rpc_outcome
adopt(struct rpc_call *call, void *opaque, struct virtcrypt_volume_create_args *args,
      struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    if (!dispatch_check_flags("adopt", args->flags, 0, error))
        return RPC_FAILED;
    if (args->source || args->source_path) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "a volume that is adopted has no source: it is there already");
        return RPC_FAILED;
    }
    return start(dispatch, call, create_job_new(dispatch, args), run_adopt, error);
}

/* ---- changes of one volume ---- */

static bool
run_delete(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
           GError **error)
{
    struct volume_job *job = opaque;

    return storage_service_delete(job->service, job->pool, job->name, progress, error);
}

static enum rpc_outcome
delete_volume(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_ref_args *args,
              struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    if (!dispatch_check_flags("delete", args->flags, 0, error))
        return RPC_FAILED;
    return start(dispatch, call, volume_job_new(dispatch, args->volume.pool, args->volume.name),
                 run_delete, error);
}

static bool
run_wipe(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
         GError **error)
{
    struct volume_job *job = opaque;

    return storage_service_wipe(job->service, job->pool, job->name, job->flags, progress, error);
}

static enum rpc_outcome
wipe(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_wipe_args *args,
     struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;
    struct volume_job *job;

    if (!dispatch_check_flags("wipe", args->flags, 0, error))
        return RPC_FAILED;
    job = volume_job_new(dispatch, args->volume.pool, args->volume.name);
    job->flags = args->algorithm;
    return start(dispatch, call, job, run_wipe, error);
}

static bool
run_resize(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
           GError **error)
{
    struct volume_job *job = opaque;
    const struct storage_resize wish = {
        .pool = job->pool,
        .name = job->name,
        .capacity = job->capacity,
        .flags = job->flags,
    };

    return storage_service_resize(job->service, &wish, progress, error);
}

static enum rpc_outcome
resize(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_resize_args *args,
       struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;
    struct volume_job *job;

    if (!dispatch_check_flags("resize", args->flags, RESIZE_FLAGS, error))
        return RPC_FAILED;
    job = volume_job_new(dispatch, args->volume.pool, args->volume.name);
    job->capacity = args->capacity;
    job->flags = args->flags;
    return start(dispatch, call, job, run_resize, error);
}

static bool
run_rekey(void *opaque, struct storage_progress *progress, struct storage_volume **ret_volume,
          GError **error)
{
    struct volume_job *job = opaque;

    *ret_volume = storage_service_rekey(job->service, job->pool, job->name, error);
    return *ret_volume != NULL;
}

static enum rpc_outcome
rekey(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_ref_args *args,
      struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    if (!dispatch_check_flags("rekey", args->flags, 0, error))
        return RPC_FAILED;
    return start(dispatch, call, volume_job_new(dispatch, args->volume.pool, args->volume.name),
                 run_rekey, error);
}

/* ---- jobs themselves ---- */

static enum rpc_outcome
job_wait(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_job_wait_args *args,
         struct virtcrypt_volume_job_ret *ret, GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    return dispatch_job_wait(dispatch->jobs, call, args->job, error);
}

static enum rpc_outcome
job_cancel(struct rpc_call *call, void *opaque, const struct virtcrypt_volume_job_wait_args *args,
           GError **error)
{
    struct storage_dispatch *dispatch = opaque;

    return dispatch_job_cancel(dispatch->jobs, call, args->job, error);
}

const struct virtcrypt_volume_handlers dispatch_volume_handlers = {
    .daemon_status = dispatch_daemon_status,
    .create = create,
    .wants = dispatch_wants,
    .adopt = adopt,
    .delete_ = delete_volume,
    .wipe = wipe,
    .resize = resize,
    .rekey = rekey,
    .job_wait = job_wait,
    .job_cancel = job_cancel,
    .get_info = dispatch_get_info,
    .get_xml_desc = dispatch_get_xml_desc,
    .get = dispatch_get,
    .get_by_path = dispatch_get_by_path,
    .list = dispatch_list,
    .open = dispatch_open,
    .close = dispatch_close,
    .guest_prepare = dispatch_guest_prepare,
    .guest_release = dispatch_guest_release,
    .pool_policy = dispatch_pool_policy,
    .set_pool_policy = dispatch_set_pool_policy,
};

/* ---- the whole ---- */

void
storage_dispatch_init(struct storage_dispatch *dispatch, struct loop *loop,
                      struct storage_service *service, struct client_keys *keys)
{
    *dispatch = (struct storage_dispatch){.service = service, .keys = keys};
    dispatch->workers = dispatch_workers_new(loop);
    dispatch->clients = dispatch_clients_new();
    dispatch->jobs = dispatch_jobs_new(loop, dispatch->workers, dispatch->clients);
}

void
storage_dispatch_end(struct storage_dispatch *dispatch, loop_func func, void *opaque)
{
    dispatch_clients_end(dispatch->clients);
    dispatch_workers_on_idle(dispatch->workers, func, opaque);
}

void
storage_dispatch_clear(struct storage_dispatch *dispatch)
{
    if (!dispatch->workers)
        return;
    dispatch_workers_free(dispatch->workers);
    dispatch_jobs_free(dispatch->jobs);
    dispatch_clients_free(dispatch->clients);
}
