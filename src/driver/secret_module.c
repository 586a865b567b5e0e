/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the module's entry, secretRegister: looks at the libvirt that loads it, and either puts
 * virtcrypt's secret driver in place or, when that libvirt is not one whose tables are known, loads
 * libvirt's own and says so. Never returns an error to libvirtd, which would end then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver/secret_backend.h"
#include "driver/secret_events.h"
#include "driver/secret_forward.h"
#include "driver/secret_module.h"

/* Names the socket of the daemon. */
#define SOCKET_VARIABLE "VIRTCRYPT_SECRETD_SOCKET"
#define SOCKET_NAME     "libvirt/virtsecretd-sock"

#define MODULE_NAME "libvirt_driver_secret.so"

/* libvirt's own driver and virtcrypt-secretd both lock this file: they share a folder of secrets.
 */
#define DRIVER_LOCK RUNSTATEDIR "/libvirt/secrets/driver.pid"

/* virLogPriority */
#define LOG_PRIORITY_WARN 3

__attribute__((visibility("default"))) int secretRegister(void);

static struct secret_module module;

struct secret_module *
secret_module_get(void)
{
    return &module;
}

static void
set_error(const struct secret_module *self, const virError *like, int code, const char *text)
{
    g_autofree char *message = g_strdup(text);
    g_autofree char *format = g_strdup("%s");
    virError error = {
        .code = code,
        .domain = like ? like->domain : VIR_FROM_SECRET,
        .message = message,
        .level = VIR_ERR_ERROR,
        .str1 = format,
        .str2 = message,
        .int1 = like ? like->int1 : -1,
        .int2 = -1,
    };

    self->libvirt.set_error(&error);
}

void
secret_module_error(const struct secret_module *self, int code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    set_error(self, NULL, code, text);
}

void
secret_module_error_unreachable(const struct secret_module *self, const virError *cause)
{
    g_autofree char *text =
        g_strdup_printf("secrets are kept by virtcrypt-secretd, which cannot be reached: %s "
                        "(start it: systemctl start virtcrypt-secretd.socket)",
                        cause && cause->message ? cause->message : "unknown error");

    set_error(self, cause, cause && cause->code ? cause->code : VIR_ERR_NO_CONNECT, text);
}

void
secret_module_restore_error(const struct secret_module *self, virErrorPtr take_error)
{
    if (!take_error)
        return;
    self->libvirt.set_error(take_error);
    virFreeError(take_error);
}

void
secret_module_warn(const struct secret_module *self, const char *format, ...)
{
    static struct libvirt_log_source source = {.name = "secret.virtcrypt"};
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    self->libvirt.log_message(&source, LOG_PRIORITY_WARN, __FILE__, __LINE__, __func__, NULL, "%s",
                              text);
}

/* Before libvirt's log can be relied on: to stderr, which systemd puts into the journal. */
static void say(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void
say(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "virtcrypt: %s\n", text);
    fflush(stderr);
}

/* Returns why this libvirt can't be used, or NULL after filling in all of `ret_symbols`. */
static char *
check_libvirt(struct libvirt_symbols *ret_symbols, unsigned long *ret_version)
{
    static const struct libvirt_symbol wanted[] = {LIBVIRT_SYMBOLS};

    if (virGetVersion(ret_version, NULL, NULL) < 0)
        return g_strdup("libvirt does not tell its version");
    if (*ret_version < LIBVIRT_OLDEST || *ret_version > LIBVIRT_NEWEST)
        return g_strdup_printf("libvirt %lu.%lu.%lu is not between %lu.%lu and %lu.%lu, which this "
                               "version of virtcrypt knows",
                               *ret_version / 1000000, *ret_version / 1000 % 1000,
                               *ret_version % 1000, LIBVIRT_OLDEST / 1000000,
                               LIBVIRT_OLDEST / 1000 % 1000, LIBVIRT_NEWEST / 1000000,
                               LIBVIRT_NEWEST / 1000 % 1000);
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        void *address = dlsym(RTLD_DEFAULT, wanted[i].name);

        if (!address)
            return g_strdup_printf("libvirt has no function %s", wanted[i].name);
        memcpy((char *)ret_symbols + wanted[i].offset, &address, sizeof(address));
    }
    return NULL;
}

/* The process that holds the lock of libvirt's secret driver, or 0. */
static pid_t
driver_lock_holder(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(DRIVER_LOCK, O_RDWR | O_CLOEXEC);
    int status;

    if (fd < 0)
        return 0;
    status = fcntl(fd, F_GETLK, &lock);
    close(fd);
    return status == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

/* libvirt's own driver would end libvirtd if it found its lock taken. */
static void
load_libvirts_own(const char *reason)
{
    const char *path = LIBVIRT_DRIVER_FOLDER "/" MODULE_NAME;
    pid_t holder = driver_lock_holder();
    void *handle = NULL;
    int (*their_register)(void) = NULL;

    if (holder != 0) {
        say("%s: libvirtd runs without secrets, because process %d (virtcrypt-secretd?) keeps "
            "libvirt's own secret driver from starting; update virtcrypt, or remove it and "
            "restart libvirtd",
            reason, (int)holder);
        return;
    }
    handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (handle)
        *(void **)&their_register = dlsym(handle, "secretRegister");
    if (!their_register || their_register == secretRegister) {
        say("%s, and libvirt's own secret driver can't be loaded: %s: libvirtd runs without "
            "secrets",
            reason, handle ? path : dlerror());
        return;
    }
    if (their_register() < 0) {
        say("%s, and libvirt's own secret driver refused to start: libvirtd runs without secrets",
            reason);
        return;
    }
    say("%s: libvirt's own secret driver is used instead, which keeps values in clear and can't "
        "read those that virtcrypt-secretd has sealed; update virtcrypt",
        reason);
}

static void
find_daemon(struct secret_module *self)
{
    const char *named = g_getenv(SOCKET_VARIABLE);
    g_autofree char *escaped = NULL;
    bool is_system = geteuid() == 0;

    if (named && named[0])
        self->socket = g_strdup(named);
    else
        self->socket =
            g_build_filename(is_system ? RUNSTATEDIR : g_get_user_runtime_dir(), SOCKET_NAME, NULL);
    escaped = g_uri_escape_string(self->socket, "/", FALSE);
    /* With "secret:" instead of "secret+unix:" libvirtd would come back to this driver. */
    self->uri =
        g_strdup_printf("secret+unix:///%s?socket=%s", is_system ? "system" : "session", escaped);
}

/* The path of the URI that a client of libvirtd asked for: ours is one only. */
static bool
is_our_uri(virConnectPtr conn)
{
    const char *wanted = geteuid() == 0 ? "/system" : "/session";
    g_autofree char *text = virConnectGetURI(conn);
    g_autoptr(GUri) uri = text ? g_uri_parse(text, G_URI_FLAGS_NONE, NULL) : NULL;

    if (uri && g_str_equal(g_uri_get_path(uri), wanted))
        return true;
    secret_module_error(&module, VIR_ERR_INTERNAL_ERROR,
                        "internal error: unexpected secret URI path '%s', try secret://%s",
                        uri ? g_uri_get_path(uri) : "", wanted);
    return false;
}

/* Nothing is opened yet: the daemon may come and go during a connection. */
static int
connection_open(virConnectPtr conn, virConnectAuthPtr auth, void *conf, unsigned int flags)
{
    if (!is_our_uri(conn))
        return LIBVIRT_OPEN_ERROR;
    secret_backends_add(module.backends, conn, (flags & VIR_CONNECT_RO) != 0);
    return LIBVIRT_OPEN_SUCCESS;
}

static int
connection_set_identity(virConnectPtr conn, virTypedParameterPtr params, int count,
                        unsigned int flags)
{
    secret_backends_set_identity(module.backends, conn, params, count);
    return 0;
}

static int
connection_close(virConnectPtr conn)
{
    secret_backends_remove(module.backends, conn);
    return 0;
}

static int
connection_is_encrypted(virConnectPtr conn)
{
    return 0;
}

/* A UNIX socket, the identity of whose other end is known. */
static int
connection_is_secure(virConnectPtr conn)
{
    return 1;
}

static int
connection_is_alive(virConnectPtr conn)
{
    return 1;
}

static struct libvirt_hypervisor_driver hypervisor_driver = {
    .name = "secret",
    .open = connection_open,
    .close = connection_close,
    .set_identity = connection_set_identity,
};

static const char *uri_schemes[] = {"secret", NULL};

static struct libvirt_connect_driver connect_driver = {
    .local_only = true,
    .uri_schemes = uri_schemes,
    .hypervisor = &hypervisor_driver,
    .secret = &secret_forward_driver,
};

int
secretRegister(void)
{
    unsigned long version = 0;
    g_autofree char *reason = check_libvirt(&module.libvirt, &version);

    if (reason) {
        load_libvirts_own(reason);
        return 0;
    }
    find_daemon(&module);
    module.backends = secret_backends_new(&module);
    module.events = secret_events_new(&module);
    if (version <= LIBVIRT_LATER_NEWEST) {
        hypervisor_driver.later[LIBVIRT_LATER_IS_ENCRYPTED] =
            (void (*)(void))connection_is_encrypted;
        hypervisor_driver.later[LIBVIRT_LATER_IS_SECURE] = (void (*)(void))connection_is_secure;
        hypervisor_driver.later[LIBVIRT_LATER_IS_ALIVE] = (void (*)(void))connection_is_alive;
    }
    if (module.libvirt.register_connect_driver(&connect_driver, false) < 0 ||
        module.libvirt.set_shared_secret_driver(&secret_forward_driver) < 0)
        say("libvirt refuses another secret driver: %s: secrets are not those of virtcrypt-secretd",
            virGetLastErrorMessage());
    return 0;
}
