/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_cipher.h. QEMU's side of the tables is what qemu-img 7.2 opens: its LUKS driver knows
 * four ciphers, and breaks off on keys whose 4 000 stripes are no whole sectors (192 bits but in
 * xts mode).
 */
#include "storage/luks_cipher.h"

#include <string.h>

#include "util/error.h"

enum {
    DEFAULT_BITS = 256,
    XTS_KEYS = 2,
    HMAC_KEY_BYTES = 32,
    LONG_KEY_BYTES = 32,
    SECTOR_MIN = 512,
    SECTOR_MAX = 4096,
    IMAGE_SECTOR = 512,
    STRIPES = 4000,
};

struct known_cipher {
    const char *name;
    unsigned int bits[4]; /* until 0 */
    unsigned int block;   /* bytes */
    bool in_qemu;
};

static const struct known_cipher known_ciphers[] = {
    {"aes", {128, 192, 256}, 16, true},
    {"serpent", {128, 192, 256}, 16, true},
    {"twofish", {128, 192, 256}, 16, true},
    {"camellia", {128, 192, 256}, 16, false},
    {"cast5", {128}, 8, true},
    {"cast6", {128, 192, 256}, 16, false},
};

struct known_mode {
    const char *name;
    bool has_iv;
    bool in_qemu; /* as libcryptsetup writes it into a header */
};

static const struct known_mode known_modes[] = {
    {"xts", true, true},
    {"cbc", true, true},
    {"ctr", true, true},
    /* QEMU wants an initialization vector named with it, which libcryptsetup refuses. */
    {"ecb", false, false},
};

static const char *const known_ivgens[] = {"plain", "plain64", "essiv"};
static const char *const known_hashes[] = {"sha1",   "sha224", "sha256",
                                           "sha384", "sha512", "ripemd160"};
enum { QEMU_HASHES = G_N_ELEMENTS(known_hashes) };

static const struct known_cipher *
find_cipher(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known_ciphers); i++)
        if (strcmp(known_ciphers[i].name, name) == 0)
            return &known_ciphers[i];
    return NULL;
}

static const struct known_mode *
find_mode(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known_modes); i++)
        if (strcmp(known_modes[i].name, name) == 0)
            return &known_modes[i];
    return NULL;
}

static const char *
find_word(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return words[i];
    return NULL;
}

static bool
refuse(GError **error, const char *what, const char *word, const char *possible)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "unknown %s '%s' in <encryption>; possible: %s", what, word, possible);
    return false;
}

static const struct known_cipher *
choose_cipher(const struct encryption *encryption, bool for_image, GError **error)
{
    const char *name = encryption && encryption->cipher_name ? encryption->cipher_name : "aes";
    const struct known_cipher *known = find_cipher(name);

    if (known && (known->in_qemu || !for_image))
        return known;
    refuse(error, "cipher", name,
           for_image ? "aes, serpent, twofish, cast5"
                     : "aes, serpent, twofish, camellia, cast5, cast6");
    return NULL;
}

static bool
choose_bits(const struct known_cipher *known, const struct encryption *encryption,
            unsigned int *ret_bits, GError **error)
{
    unsigned int bits = encryption ? encryption->cipher_size : 0;

    if (bits == 0)
        bits = known->bits[1] ? DEFAULT_BITS : known->bits[0];
    for (size_t i = 0; i < G_N_ELEMENTS(known->bits) && known->bits[i]; i++)
        if (known->bits[i] == bits) {
            *ret_bits = bits;
            return true;
        }
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "cipher '%s' has no keys of %u bits (the size is that of the cipher, also in xts "
              "mode); possible: %s",
              known->name, bits, known->bits[1] ? "128, 192, 256" : "128");
    return false;
}

static const char *
choose_hash(const char *wanted, const char *otherwise, GError **error)
{
    const char *name = wanted ? wanted : otherwise;
    const char *hash = find_word(known_hashes, G_N_ELEMENTS(known_hashes), name);

    if (!hash)
        refuse(error, "hash", name, "sha1, sha224, sha256, sha384, sha512, ripemd160");
    return hash;
}

/* "plain64", "essiv:sha256"; NULL with an error. */
static char *
choose_ivgen(const struct encryption *encryption, GError **error)
{
    const char *name = encryption && encryption->ivgen_name ? encryption->ivgen_name : "plain64";
    const char *hash = encryption ? encryption->ivgen_hash : NULL;

    if (!find_word(known_ivgens, G_N_ELEMENTS(known_ivgens), name)) {
        refuse(error, "ivgen", name, "plain, plain64, essiv");
        return NULL;
    }
    if (strcmp(name, "essiv") != 0) {
        if (!hash)
            return g_strdup(name);
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "ivgen '%s' takes no hash ('%s'): leave it out", name, hash);
        return NULL;
    }
    hash = choose_hash(hash, "sha256", error);
    return hash ? g_strconcat("essiv:", hash, NULL) : NULL;
}

static bool
choose_mode(struct luks_cipher *cipher, const struct known_cipher *known,
            const struct encryption *encryption, bool for_image, GError **error)
{
    const char *name = encryption && encryption->cipher_mode ? encryption->cipher_mode : "xts";
    const struct known_mode *mode = find_mode(name);
    g_autofree char *ivgen = NULL;

    if (!mode || (for_image && !mode->in_qemu))
        return refuse(error, "cipher mode", name,
                      for_image ? "xts, cbc, ctr" : "xts, cbc, ctr, ecb");
    if (strcmp(name, "xts") == 0 && known->block != 16) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "cipher '%s' has no xts mode (its blocks have %u bytes): name mode='cbc'",
                  known->name, known->block);
        return false;
    }
    if (!mode->has_iv) {
        if (encryption->ivgen_name) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                      "cipher mode '%s' has no initialization vectors: leave <ivgen> out", name);
            return false;
        }
        cipher->mode = g_strdup(name);
        return true;
    }
    ivgen = choose_ivgen(encryption, error);
    if (!ivgen)
        return false;
    cipher->mode = g_strconcat(name, "-", ivgen, NULL);
    return true;
}

/* Authenticated sectors: the mode is the integrity's, unless one was named. */
static bool
choose_integrity(struct luks_cipher *cipher, enum luks_type type,
                 const struct encryption *encryption, GError **error)
{
    enum encryption_integrity integrity =
        encryption ? encryption->dmcrypt.integrity : ENCRYPTION_INTEGRITY_NONE;

    if (integrity == ENCRYPTION_INTEGRITY_NONE)
        return true;
    if (type != LUKS_2) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "<integrity> needs format='luks2'");
        return false;
    }
    if (encryption->cipher_mode && strcmp(encryption->cipher_mode, "xts") != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "<integrity> does not go with cipher mode '%s': leave the mode out",
                  encryption->cipher_mode);
        return false;
    }
    if (integrity == ENCRYPTION_INTEGRITY_HMAC) {
        cipher->integrity = "hmac(sha256)";
        cipher->key_bytes += HMAC_KEY_BYTES;
        return true;
    }
    if (encryption->cipher_mode || encryption->ivgen_name || strcmp(cipher->name, "aes") != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "<integrity mode='aead'> chooses cipher aes, mode and ivgen itself: leave mode "
                  "and <ivgen> out");
        return false;
    }
    g_free(cipher->mode);
    cipher->mode = g_strdup("gcm-random");
    cipher->key_bytes /= XTS_KEYS;
    cipher->integrity = "aead";
    return true;
}

static bool
choose_sector_size(struct luks_cipher *cipher, enum luks_type type,
                   const struct encryption *encryption, bool for_image, GError **error)
{
    unsigned int size = encryption ? encryption->dmcrypt.sector_size : 0;

    cipher->sector_size = size ? size : SECTOR_MIN;
    if (cipher->sector_size < SECTOR_MIN || cipher->sector_size > SECTOR_MAX ||
        (cipher->sector_size & (cipher->sector_size - 1)) != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "sector_size %u is none of 512, 1024, 2048, 4096", size);
        return false;
    }
    if (cipher->sector_size != IMAGE_SECTOR && (for_image || type == LUKS_1)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "format 'luks' has sectors of 512 bytes alone, not of %u: name format='luks2'",
                  size);
        return false;
    }
    return true;
}

static bool
check_qemu_key(const struct luks_cipher *cipher, GError **error)
{
    if (cipher->key_bytes * STRIPES % IMAGE_SECTOR == 0)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "QEMU can't open volumes with %zu-bit keys of '%s-%s': name size='256'",
              cipher->key_bytes * 8, cipher->name, cipher->mode);
    return false;
}

bool
luks_cipher_init(struct luks_cipher *cipher, enum luks_type type,
                 const struct encryption *encryption, bool for_image, GError **error)
{
    g_auto(luks_cipher_t) made = {NULL};
    const struct known_cipher *known = choose_cipher(encryption, for_image, error);
    const char *hash = encryption ? encryption->cipher_hash : NULL;
    unsigned int bits;

    if (!known || !choose_bits(known, encryption, &bits, error) ||
        !choose_mode(&made, known, encryption, for_image, error))
        return false;
    made.name = known->name;
    made.key_bytes = bits / 8;
    if (g_str_has_prefix(made.mode, "xts-"))
        made.key_bytes *= XTS_KEYS;
    if (!choose_integrity(&made, type, encryption, error) ||
        !choose_sector_size(&made, type, encryption, for_image, error) ||
        (for_image && !check_qemu_key(&made, error)))
        return false;
    made.hash = choose_hash(
        hash, type == LUKS_PLAIN && made.key_bytes > LONG_KEY_BYTES ? "sha512" : "sha256", error);
    if (!made.hash)
        return false;
    *cipher = made;
    made.mode = NULL;
    return true;
}

void
luks_cipher_clear(struct luks_cipher *cipher)
{
    g_clear_pointer(&cipher->mode, g_free);
}
