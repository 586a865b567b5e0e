/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the module's entry, secretRegister: looks at the libvirt that loads it, and either puts
 * virtcrypt's secret driver in place or, when that libvirt is not one whose tables are known, loads
 * libvirt's own and says so. Never returns an error to libvirtd, which would end then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "driver/libvirt_module.h"
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

__attribute__((visibility("default"))) int secretRegister(void);

static struct secret_module module;

struct secret_module *
secret_module_get(void)
{
    return &module;
}

void
secret_module_error(const struct secret_module *self, int code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    libvirt_module_set_error(&self->libvirt, VIR_FROM_SECRET, code, -1, text);
}

void
secret_module_error_unreachable(const struct secret_module *self, const virError *cause)
{
    g_autofree char *text =
        g_strdup_printf("secrets are kept by virtcrypt-secretd, which cannot be reached: %s "
                        "(start it: systemctl start virtcrypt-secretd.socket)",
                        cause && cause->message ? cause->message : "unknown error");

    libvirt_module_set_error(&self->libvirt, cause ? cause->domain : VIR_FROM_SECRET,
                             cause && cause->code ? cause->code : VIR_ERR_NO_CONNECT,
                             cause ? cause->int1 : -1, text);
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
    libvirt_module_warn(&self->libvirt, &source, text);
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
    pid_t holder = driver_lock_holder();
    g_autofree char *failure = NULL;

    if (holder != 0) {
        libvirt_module_say("%s: libvirtd runs without secrets, because process %d "
                           "(virtcrypt-secretd?) keeps libvirt's own secret driver from starting; "
                           "update virtcrypt, or remove it and restart libvirtd",
                           reason, (int)holder);
        return;
    }
    failure = libvirt_module_load_own(MODULE_NAME, "secretRegister", secretRegister);
    if (failure) {
        libvirt_module_say("%s, and libvirt's own secret driver %s: libvirtd runs without secrets",
                           reason, failure);
        return;
    }
    libvirt_module_say("%s: libvirt's own secret driver is used instead, which keeps values in "
                       "clear and can't read those that virtcrypt-secretd has sealed; update "
                       "virtcrypt",
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
    static const struct libvirt_symbol wanted[] = {LIBVIRT_SECRET_SYMBOLS};
    unsigned long version = 0;
    g_autofree char *reason =
        libvirt_module_check(wanted, G_N_ELEMENTS(wanted), &module.libvirt, &version);

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
        libvirt_module_say(
            "libvirt refuses another secret driver: %s: secrets are not those of virtcrypt-secretd",
            virGetLastErrorMessage());
    return 0;
}
