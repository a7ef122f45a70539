#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The parts of GLib's ABI that the calls below need.
typedef size_t GType;
typedef struct { GType type; uint64_t data[2]; } GValue;
typedef struct { void *instance; const char *name; int flags; GType value_type; } GParamSpec;

#define FUNDAMENTAL(n) ((GType)(n) << 2)
enum { T_BOOLEAN = 5, T_INT = 6, T_UINT64 = 11, T_ENUM = 12, T_FLAGS = 13, T_DOUBLE = 15, T_STRING = 16, T_BOXED = 18, T_OBJECT = 20 };

#define LOG_FATAL_OR_ERROR 6 // G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR

#define SYMBOLS(X) \
  X(int, vips_init, (const char *)) \
  X(const char *, vips_version_string, (void)) \
  X(int, vips_version, (int)) \
  X(void, vips_block_untrusted_set, (int)) \
  X(void, vips_operation_block_set, (const char *, int)) \
  X(void, vips_cache_set_max, (int)) \
  X(void, vips_concurrency_set, (int)) \
  X(int, vips_tracked_get_allocs, (void)) \
  X(size_t, vips_tracked_get_mem, (void)) \
  X(int, vips_tracked_get_files, (void)) \
  X(char *, vips_error_buffer_copy, (void)) \
  X(void, vips_error_clear, (void)) \
  X(void, vips_error, (const char *, const char *, ...)) \
  X(GType, vips_type_find, (const char *, const char *)) \
  X(void *, vips_operation_new, (const char *)) \
  X(int, vips_object_build, (void *)) \
  X(void, vips_object_unref_outputs, (void *)) \
  X(int, vips_enum_from_nick, (const char *, GType, const char *)) \
  X(GType, vips_array_int_get_type, (void)) \
  X(GType, vips_array_double_get_type, (void)) \
  X(GType, vips_array_image_get_type, (void)) \
  X(void, vips_value_set_array_int, (GValue *, const int *, int)) \
  X(void, vips_value_set_array_double, (GValue *, const double *, int)) \
  X(double *, vips_value_get_array_double, (const GValue *, int *)) \
  X(void, vips_value_set_array_image, (GValue *, int)) \
  X(void **, vips_value_get_array_image, (const GValue *, int *)) \
  X(void *, vips_source_new_from_descriptor, (int)) \
  X(void *, vips_source_new_from_memory, (const void *, size_t)) \
  X(void *, vips_target_new_to_descriptor, (int)) \
  X(void *, vips_target_new_to_memory, (void)) \
  X(void, g_object_get, (void *, const char *, ...)) \
  X(const void *, vips_blob_get, (void *, size_t *)) \
  X(void, vips_area_unref, (void *)) \
  X(void *, vips_image_new_from_memory_copy, (const void *, size_t, int, int, int, int)) \
  X(void *, vips_image_write_to_memory, (void *, size_t *)) \
  X(void *, vips_image_copy_memory, (void *)) \
  X(int, vips_image_get_width, (void *)) \
  X(int, vips_image_get_height, (void *)) \
  X(int, vips_image_get_bands, (void *)) \
  X(int, vips_image_get_format, (void *)) \
  X(int, vips_image_get_interpretation, (void *)) \
  X(int, vips_image_get_page_height, (void *)) \
  X(int, vips_image_get_n_pages, (void *)) \
  X(int, vips_image_get_xoffset, (void *)) \
  X(int, vips_image_get_yoffset, (void *)) \
  X(int, vips_image_hasalpha, (void *)) \
  X(GType, vips_image_get_typeof, (void *, const char *)) \
  X(int, vips_image_get_int, (void *, const char *, int *)) \
  X(int, vips_image_get_array_int, (void *, const char *, int **, int *)) \
  X(int, vips_image_get_blob, (void *, const char *, const void **, size_t *)) \
  X(void, vips_image_set_int, (void *, const char *, int)) \
  X(void, vips_image_set_array_int, (void *, const char *, const int *, int)) \
  X(void, vips_image_set_blob_copy, (void *, const char *, const void *, size_t)) \
  X(int, vips_image_remove, (void *, const char *)) \
  X(char **, vips_image_get_fields, (void *)) \
  X(void, g_free, (void *)) \
  X(void, g_strfreev, (char **)) \
  X(void *, g_log_set_default_handler, (void *, void *)) \
  X(GType, g_type_fundamental, (GType)) \
  X(void *, g_object_ref, (void *)) \
  X(void, g_object_unref, (void *)) \
  X(GParamSpec *, g_object_class_find_property, (void *, const char *)) \
  X(void, g_object_set_property, (void *, const char *, const GValue *)) \
  X(void, g_object_get_property, (void *, const char *, GValue *)) \
  X(GValue *, g_value_init, (GValue *, GType)) \
  X(void, g_value_unset, (GValue *)) \
  X(void, g_value_set_boolean, (GValue *, int)) \
  X(void, g_value_set_int, (GValue *, int)) \
  X(void, g_value_set_uint64, (GValue *, uint64_t)) \
  X(void, g_value_set_double, (GValue *, double)) \
  X(void, g_value_set_enum, (GValue *, int)) \
  X(void, g_value_set_flags, (GValue *, unsigned)) \
  X(void, g_value_set_string, (GValue *, const char *)) \
  X(void, g_value_set_object, (GValue *, void *)) \
  X(int, g_value_get_boolean, (const GValue *)) \
  X(int, g_value_get_int, (const GValue *)) \
  X(int, g_value_get_enum, (const GValue *)) \
  X(double, g_value_get_double, (const GValue *)) \
  X(void *, g_value_dup_object, (const GValue *))

#define DECLARE(ret, name, args) ret(*name) args;
static struct { SYMBOLS(DECLARE) } f;
#undef DECLARE

// Warnings about a file go nowhere: the caller gets an error or a picture. What
// makes GLib abort is printed, for the parent's log.
static void log_handler(const char *domain, int level, const char *message, void *data) {
  (void)data;
  if (level & LOG_FATAL_OR_ERROR)
    dprintf(2, "%s: %s\n", domain ? domain : "glib", message);
}

static int resolve(void *handle, char *problem, size_t size) {
#define RESOLVE(ret, name, args)                                    \
  if (!(*(void **)&f.name = dlsym(handle, #name))) {                \
    snprintf(problem, size, "it has no symbol %s", #name);          \
    return -1;                                                      \
  }
  SYMBOLS(RESOLVE)
#undef RESOLVE
  return 0;
}

// load_modules opens the named modules from the directory where this libvips
// keeps them; a libvips that has these parts built in has no such files, and
// may have no GModule to open them with.
static void load_modules(void *handle, const char *const *modules) {
  void *(*module_open)(const char *, int) = (void *(*)(const char *, int))dlsym(handle, "g_module_open");
  void (*make_resident)(void *) = (void (*)(void *))dlsym(handle, "g_module_make_resident");
  if (!module_open || !make_resident)
    return;
  Dl_info info;
  char dir[PATH_MAX], path[PATH_MAX + 128];
  if (!dladdr(*(void **)&f.vips_init, &info) || !realpath(info.dli_fname, dir))
    return;
  *strrchr(dir, '/') = 0;
  for (; *modules; modules++) {
    snprintf(path, sizeof path, "%s/vips-modules-%d.%d/%s.so", dir, f.vips_version(0), f.vips_version(1), *modules);
    void *module = access(path, R_OK) ? NULL : module_open(path, 0);
    if (module)
      make_resident(module);
  }
}

int vs_open(const char *path, const char *const *modules, char *problem, size_t size) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!handle) {
    snprintf(problem, size, "%s", dlerror());
    return -1;
  }
  if (resolve(handle, problem, size))
    return -1;
  f.g_log_set_default_handler((void *)log_handler, NULL);
  // libvips would load every module under its prefix (ImageMagick, Poppler,
  // OpenSlide …); a prefix without any leaves the choice to us.
  setenv("VIPSHOME", "/nonexistent", 1);
  if (f.vips_init("safelight")) {
    char *text = f.vips_error_buffer_copy();
    snprintf(problem, size, "vips_init: %s", text);
    f.g_free(text);
    return -1;
  }
  load_modules(handle, modules);
  return 0;
}

static int set_boxed(GValue *value, GType type, vs_arg *arg) {
  if (type == f.vips_array_double_get_type() && arg->kind == VS_DOUBLES) {
    f.vips_value_set_array_double(value, arg->doubles, arg->n);
    return 0;
  }
  if (type == f.vips_array_int_get_type() && arg->kind == VS_DOUBLES) {
    int n, *ints = malloc(sizeof(int) * (arg->n + 1));
    for (n = 0; n < arg->n; n++)
      ints[n] = (int)arg->doubles[n];
    f.vips_value_set_array_int(value, ints, arg->n);
    free(ints);
    return 0;
  }
  if (type == f.vips_array_image_get_type() && arg->kind == VS_OBJECTS) {
    f.vips_value_set_array_image(value, arg->n);
    void **images = f.vips_value_get_array_image(value, NULL);
    for (int i = 0; i < arg->n; i++)
      images[i] = f.g_object_ref(arg->objects[i]);
    return 0;
  }
  return -1;
}

static int set_value(GValue *value, GType type, vs_arg *arg) {
  switch (f.g_type_fundamental(type) >> 2) {
  case T_BOOLEAN:
    f.g_value_set_boolean(value, arg->number != 0);
    return arg->kind != VS_NUMBER;
  case T_INT:
    f.g_value_set_int(value, (int)arg->number);
    return arg->kind != VS_NUMBER;
  case T_UINT64:
    f.g_value_set_uint64(value, (uint64_t)arg->number);
    return arg->kind != VS_NUMBER;
  case T_DOUBLE:
    f.g_value_set_double(value, arg->number);
    return arg->kind != VS_NUMBER;
  case T_FLAGS:
    f.g_value_set_flags(value, (unsigned)arg->number);
    return arg->kind != VS_NUMBER;
  case T_ENUM: {
    int n = arg->kind == VS_TEXT ? f.vips_enum_from_nick("safelight", type, arg->text) : (int)arg->number;
    f.g_value_set_enum(value, n);
    return n < 0 || (arg->kind != VS_TEXT && arg->kind != VS_NUMBER);
  }
  case T_STRING:
    if (arg->kind != VS_TEXT)
      return -1;
    f.g_value_set_string(value, arg->text);
    return 0;
  case T_OBJECT:
    if (arg->kind != VS_OBJECT)
      return -1;
    f.g_value_set_object(value, arg->object);
    return 0;
  case T_BOXED:
    return set_boxed(value, type, arg);
  }
  return -1;
}

// A GObject begins with a pointer to its class.
static GParamSpec *property(void *object, const char *operation, const char *name) {
  GParamSpec *pspec = f.g_object_class_find_property(*(void **)object, name);
  if (!pspec)
    f.vips_error("safelight", "operation %s has no argument %s", operation, name);
  return pspec;
}

static int set_argument(void *object, const char *operation, vs_arg *arg) {
  GParamSpec *pspec = property(object, operation, arg->name);
  if (!pspec)
    return -1;
  GValue value = {0};
  f.g_value_init(&value, pspec->value_type);
  int bad = set_value(&value, pspec->value_type, arg);
  if (bad)
    f.vips_error("safelight", "argument %s of operation %s can't take this value", arg->name, operation);
  else
    f.g_object_set_property(object, arg->name, &value);
  f.g_value_unset(&value);
  return bad ? -1 : 0;
}

static int get_argument(void *object, const char *operation, vs_arg *arg) {
  GParamSpec *pspec = property(object, operation, arg->name);
  if (!pspec)
    return -1;
  GValue value = {0};
  f.g_value_init(&value, pspec->value_type);
  f.g_object_get_property(object, arg->name, &value);
  int bad = 0;
  arg->kind = VS_NUMBER;
  switch (f.g_type_fundamental(pspec->value_type) >> 2) {
  case T_BOOLEAN: arg->number = f.g_value_get_boolean(&value); break;
  case T_INT: arg->number = f.g_value_get_int(&value); break;
  case T_ENUM: arg->number = f.g_value_get_enum(&value); break;
  case T_DOUBLE: arg->number = f.g_value_get_double(&value); break;
  case T_OBJECT:
    arg->kind = VS_OBJECT;
    arg->object = f.g_value_dup_object(&value);
    bad = !arg->object;
    break;
  case T_BOXED:
    bad = pspec->value_type != f.vips_array_double_get_type();
    if (!bad) {
      double *list = f.vips_value_get_array_double(&value, &arg->n);
      arg->kind = VS_DOUBLES;
      arg->doubles = malloc(sizeof(double) * (arg->n + 1));
      memcpy(arg->doubles, list, sizeof(double) * arg->n);
    }
    break;
  default: bad = 1;
  }
  f.g_value_unset(&value);
  if (bad)
    f.vips_error("safelight", "operation %s gave no %s", operation, arg->name);
  return bad ? -1 : 0;
}

int vs_call(const char *operation, vs_arg *args, int n) {
  f.vips_error_clear(); // libvips adds to it without failing
  void *object = f.vips_operation_new(operation);
  if (!object)
    return -1;
  int bad = 0;
  for (int i = 0; i < n && !bad; i++)
    if (args[i].kind != VS_OUTPUT)
      bad = set_argument(object, operation, &args[i]);
  bad = bad || f.vips_object_build(object);
  for (int i = 0; i < n && !bad; i++)
    if (args[i].kind == VS_OUTPUT)
      bad = get_argument(object, operation, &args[i]);
  f.vips_object_unref_outputs(object);
  f.g_object_unref(object);
  return bad ? -1 : 0;
}

int vs_has(const char *operation) { return f.vips_type_find("VipsOperation", operation) != 0; }
void vs_block_untrusted(int on) { f.vips_block_untrusted_set(on); }
void vs_block(const char *type, int on) { f.vips_operation_block_set(type, on); }
void vs_cache_max(int max) { f.vips_cache_set_max(max); }
void vs_concurrency(int n) { f.vips_concurrency_set(n); }
const char *vs_version(void) { return f.vips_version_string(); }
char *vs_error_take(void) { return f.vips_error_buffer_copy(); }
void vs_free(void *p) { f.g_free(p); }

void vs_tracked(int *allocations, size_t *bytes, int *files) {
  *allocations = f.vips_tracked_get_allocs();
  *bytes = f.vips_tracked_get_mem();
  *files = f.vips_tracked_get_files();
}

void *vs_source_fd(int fd) { return f.vips_source_new_from_descriptor(fd); }
void *vs_source_memory(const void *data, size_t size) { return f.vips_source_new_from_memory(data, size); }
void *vs_target_fd(int fd) { return f.vips_target_new_to_descriptor(fd); }
void *vs_target_memory(void) { return f.vips_target_new_to_memory(); }
void *vs_target_blob(void *target) {
  void *blob = NULL;
  f.g_object_get(target, "blob", &blob, NULL);
  return blob;
}
const void *vs_blob_data(void *blob, size_t *size) { return f.vips_blob_get(blob, size); }
void vs_blob_unref(void *blob) { f.vips_area_unref(blob); }
void vs_unref(void *object) { f.g_object_unref(object); }

void *vs_image_from_memory(const void *data, size_t size, int w, int h, int bands, int format) {
  return f.vips_image_new_from_memory_copy(data, size, w, h, bands, format);
}
void *vs_image_to_memory(void *image, size_t *size) { return f.vips_image_write_to_memory(image, size); }
void *vs_image_copy_memory(void *image) { return f.vips_image_copy_memory(image); }

void vs_image_header(void *image, vs_header *h) {
  h->width = f.vips_image_get_width(image);
  h->height = f.vips_image_get_height(image);
  h->bands = f.vips_image_get_bands(image);
  h->format = f.vips_image_get_format(image);
  h->interpretation = f.vips_image_get_interpretation(image);
  h->page_height = f.vips_image_get_page_height(image);
  h->n_pages = f.vips_image_get_n_pages(image);
  h->x_offset = f.vips_image_get_xoffset(image);
  h->y_offset = f.vips_image_get_yoffset(image);
  h->alpha = f.vips_image_hasalpha(image);
}

int vs_image_has(void *image, const char *field) { return f.vips_image_get_typeof(image, field) != 0; }
int vs_image_get_int(void *image, const char *field, int *out) { return f.vips_image_get_int(image, field, out); }
int vs_image_get_ints(void *image, const char *field, int **out, int *n) {
  return f.vips_image_get_array_int(image, field, out, n);
}
int vs_image_get_blob(void *image, const char *field, const void **data, size_t *size) {
  return f.vips_image_get_blob(image, field, data, size);
}
void vs_image_set_int(void *image, const char *field, int value) { f.vips_image_set_int(image, field, value); }
void vs_image_set_ints(void *image, const char *field, const int *values, int n) {
  f.vips_image_set_array_int(image, field, values, n);
}
void vs_image_set_blob(void *image, const char *field, const void *data, size_t size) {
  f.vips_image_set_blob_copy(image, field, data, size);
}
int vs_image_remove(void *image, const char *field) { return f.vips_image_remove(image, field); }
char **vs_image_fields(void *image) { return f.vips_image_get_fields(image); }
void vs_free_strings(char **list) { f.g_strfreev(list); }

struct paths { char **list; int n, max; };

static int add_path(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  struct paths *p = data;
  if (p->n < p->max && info->dlpi_name[0] == '/')
    p->list[p->n++] = strdup(info->dlpi_name);
  return 0;
}

int vs_libraries(char **paths, int max) {
  struct paths p = {paths, 0, max};
  dl_iterate_phdr(add_path, &p);
  return p.n;
}

void *vs_symbol(const char *library, const char *name) {
  void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle)
    return NULL;
  void *symbol = dlsym(handle, name);
  dlclose(handle); // still loaded by whoever loaded it
  return symbol;
}

const char *vs_call_string(void *fn) { return ((const char *(*)(void))fn)(); }
int vs_call_int(void *fn) { return ((int (*)(void))fn)(); }
