/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_input.h.
 */
#include "tools/unlock_input.h"

#include <unistd.h>

#include "recover/offline_process.h"

enum { TIMEOUT_MS = 60 * 1000 };

static const char prompt[] = "Enter passphrase of the master key: ";

bool
unlock_input_begin(struct unlock_input *input, const struct command_args *args, GError **error)
{
    char *slot = NULL;
    char *key_file = NULL;

    if (!command_get_text(args, "slot", &slot, error) ||
        !command_get_text(args, "key-file", &key_file, error) ||
        !master_input_init(&input->passphrase, args, error))
        return false;
    offline_process_harden();
    input->key = (struct offline_key){.slot = slot, .key_file = key_file};
    input->helper = helper_start(helper_default_program(), error);
    input->context = (struct unlock_context){
        .helper = input->helper,
        .credentials_dir = g_getenv("CREDENTIALS_DIRECTORY"),
        .timeout_ms = TIMEOUT_MS,
    };
    return input->helper != NULL;
}

void
unlock_input_clear(struct unlock_input *input)
{
    secret_buf_free(input->secret);
    helper_free(input->helper);
}

/* Nobody is there to be asked. */
static bool
has_terminal(void)
{
    return isatty(STDIN_FILENO);
}

bool
unlock_input_run(struct unlock_input *input, const struct unlock_target *target, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (!master_input_is_given(&input->passphrase)) {
        if (target->unlock(target->opaque, &input->context, &input->key, &failure))
            return true;
        if (!has_terminal() || !target->needs_person(target->opaque, &input->key)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
    }
    input->secret = master_input_read(&input->passphrase, prompt, NULL, error);
    input->key.secret = input->secret;
    return input->secret && target->unlock(target->opaque, &input->context, &input->key, error);
}

static bool
unlock_store(void *opaque, const struct unlock_context *context, const struct offline_key *key,
             GError **error)
{
    return offline_store_unlock(opaque, context, key, error);
}

static bool
store_needs_person(void *opaque, const struct offline_key *key)
{
    return offline_store_needs_person(opaque, key);
}

bool
unlock_input_run_store(struct unlock_input *input, struct offline_store *store, GError **error)
{
    const struct unlock_target target = {unlock_store, store_needs_person, store};

    return unlock_input_run(input, &target, error);
}
