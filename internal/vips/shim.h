// The C side of package vips: libvips and the GLib libraries below it, found
// at run time. Prototypes are declared here rather than included, so that the
// program builds without libvips' headers and links against nothing of it.
#ifndef SAFELIGHT_VIPS_SHIM_H
#define SAFELIGHT_VIPS_SHIM_H

#include <stddef.h>
#include <stdint.h>

// How one argument of an operation is given or asked for.
enum vs_kind {
  VS_NUMBER = 1, // int, double, boolean, enum or flags, as the property wants
  VS_TEXT,       // string, or the nickname of an enum's value
  VS_OBJECT,     // image, source, target
  VS_DOUBLES,    // array of int or double, as the property wants
  VS_OBJECTS,    // array of images
  VS_OUTPUT      // answered after the build: kind is then one of the above
};

typedef struct {
  const char *name;
  int kind;
  int n; // length of doubles or objects
  double number;
  const char *text;
  void *object;
  double *doubles; // an output is malloc'ed
  void **objects;
} vs_arg;

// vs_open loads the library and initialises libvips with only the modules
// named (NULL-terminated; a missing one is skipped). 0 on success; otherwise
// problem, of the given size, says what failed.
int vs_open(const char *path, const char *const *modules, char *problem, size_t size);

// vs_call builds one operation. 0 on success, otherwise libvips' error buffer says why.
int vs_call(const char *operation, vs_arg *args, int n);

int vs_has(const char *operation);
void vs_block_untrusted(int on);
void vs_block(const char *type, int on);
void vs_cache_max(int max);
void vs_concurrency(int n);
const char *vs_version(void);
void vs_tracked(int *allocations, size_t *bytes, int *files);
char *vs_error_take(void); // free with vs_free
void vs_free(void *p);

void *vs_source_fd(int fd);
void *vs_source_memory(const void *data, size_t size);
void *vs_target_fd(int fd);
void *vs_target_memory(void);
void *vs_target_blob(void *target); // what was written to memory, or NULL
const void *vs_blob_data(void *blob, size_t *size);
void vs_blob_unref(void *blob);
void vs_unref(void *object);

void *vs_image_from_memory(const void *data, size_t size, int w, int h, int bands, int format);
void *vs_image_to_memory(void *image, size_t *size); // free with vs_free
void *vs_image_copy_memory(void *image);

typedef struct {
  int width, height, bands, format, interpretation, page_height, n_pages, x_offset, y_offset, alpha;
} vs_header;
void vs_image_header(void *image, vs_header *header);

int vs_image_has(void *image, const char *field);
int vs_image_get_int(void *image, const char *field, int *out);
int vs_image_get_ints(void *image, const char *field, int **out, int *n);
int vs_image_get_blob(void *image, const char *field, const void **data, size_t *size);
void vs_image_set_int(void *image, const char *field, int value);
void vs_image_set_ints(void *image, const char *field, const int *values, int n);
void vs_image_set_blob(void *image, const char *field, const void *data, size_t size);
int vs_image_remove(void *image, const char *field);
char **vs_image_fields(void *image); // free with vs_free_strings
void vs_free_strings(char **list);

// Loaded libraries, to report what is in use.
int vs_libraries(char **paths, int max); // paths are strdup'ed
void *vs_symbol(const char *library, const char *name);
const char *vs_call_string(void *fn);
int vs_call_int(void *fn);

#endif
