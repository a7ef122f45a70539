#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// From libjxl's public headers: encode.h, decode.h, butteraugli.h, types.h.
enum { ENC_SUCCESS = 0, ENC_NEED_MORE_OUTPUT = 2 };
enum { ENC_FRAME_SETTING_EFFORT = 0 };
enum {
  DEC_SUCCESS = 0,
  DEC_NEED_MORE_INPUT = 2,
  DEC_NEED_IMAGE_OUT_BUFFER = 5,
  DEC_JPEG_NEED_MORE_OUTPUT = 6,
  DEC_BASIC_INFO = 0x40,
  DEC_FULL_IMAGE = 0x1000,
  DEC_JPEG_RECONSTRUCTION = 0x2000
};
enum { TYPE_UINT8 = 2, NATIVE_ENDIAN = 0 };
typedef struct { uint32_t channels; int type, endianness; size_t align; } pixel_format;

// JxlBasicInfo begins with these; the rest has grown over the versions, and
// there is room for more.
typedef union { struct { int have_container; uint32_t xsize, ysize; } head; char room[1024]; } basic_info;

#define NEEDED(X) \
  X(uint32_t, JxlDecoderVersion, (void)) \
  X(void *, JxlEncoderCreate, (const void *)) \
  X(void, JxlEncoderDestroy, (void *)) \
  X(int, JxlEncoderUseContainer, (void *, int)) \
  X(int, JxlEncoderStoreJPEGMetadata, (void *, int)) \
  X(void *, JxlEncoderFrameSettingsCreate, (void *, const void *)) \
  X(int, JxlEncoderFrameSettingsSetOption, (void *, int, int64_t)) \
  X(int, JxlEncoderAddJPEGFrame, (const void *, const uint8_t *, size_t)) \
  X(void, JxlEncoderCloseInput, (void *)) \
  X(int, JxlEncoderProcessOutput, (void *, uint8_t **, size_t *)) \
  X(void *, JxlDecoderCreate, (const void *)) \
  X(void, JxlDecoderDestroy, (void *)) \
  X(int, JxlDecoderSubscribeEvents, (void *, int)) \
  X(int, JxlDecoderSetInput, (void *, const uint8_t *, size_t)) \
  X(void, JxlDecoderCloseInput, (void *)) \
  X(int, JxlDecoderProcessInput, (void *)) \
  X(int, JxlDecoderGetBasicInfo, (const void *, basic_info *)) \
  X(int, JxlDecoderSetJPEGBuffer, (void *, uint8_t *, size_t)) \
  X(size_t, JxlDecoderReleaseJPEGBuffer, (void *))

// Only libjxl 0.7 and older have these.
#define OPTIONAL(X) \
  X(void *, JxlButteraugliApiCreate, (const void *)) \
  X(void, JxlButteraugliApiDestroy, (void *)) \
  X(void, JxlButteraugliApiSetIntensityTarget, (void *, float)) \
  X(void, JxlButteraugliApiSetHFAsymmetry, (void *, float)) \
  X(void *, JxlButteraugliCompute, (const void *, uint32_t, uint32_t, const pixel_format *, const void *, size_t, \
                                    const pixel_format *, const void *, size_t)) \
  X(float, JxlButteraugliResultGetDistance, (const void *, float)) \
  X(float, JxlButteraugliResultGetMaxDistance, (const void *)) \
  X(void, JxlButteraugliResultGetDistmap, (const void *, const float **, uint32_t *)) \
  X(void, JxlButteraugliResultDestroy, (void *))

struct jx_library {
#define DECLARE(ret, name, args) ret(*name) args;
  NEEDED(DECLARE)
  OPTIONAL(DECLARE)
#undef DECLARE
  int butteraugli;
};

jx_library *jx_open(const char *path, char *problem, size_t size) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    snprintf(problem, size, "%s", dlerror());
    return NULL;
  }
  jx_library *l = calloc(1, sizeof *l);
  if (!l) {
    snprintf(problem, size, "out of memory");
    return NULL;
  }
#define RESOLVE(ret, name, args)                           \
  if (!(*(void **)&l->name = dlsym(handle, #name))) {      \
    snprintf(problem, size, "it has no symbol %s", #name); \
    free(l);                                               \
    return NULL;                                           \
  }
  NEEDED(RESOLVE)
#undef RESOLVE
  l->butteraugli = 1;
#define LOOK(ret, name, args)                         \
  if (!(*(void **)&l->name = dlsym(handle, #name))) \
    l->butteraugli = 0;
  OPTIONAL(LOOK)
#undef LOOK
  return l;
}

void jx_free(jx_library *l) { free(l); }
uint32_t jx_version(const jx_library *l) { return l->JxlDecoderVersion(); }
int jx_has_butteraugli(const jx_library *l) { return l->butteraugli; }

int jx_butteraugli(const jx_library *l, uint32_t w, uint32_t h, const uint8_t *ref, const uint8_t *dist,
                   double *max, double *p3, float *map) {
  void *api = l->JxlButteraugliApiCreate(NULL);
  if (!api)
    return -1;
  l->JxlButteraugliApiSetIntensityTarget(api, 255); // cd/m² of white
  l->JxlButteraugliApiSetHFAsymmetry(api, 1);       // added detail counts like lost detail
  const pixel_format rgb = {3, TYPE_UINT8, NATIVE_ENDIAN, 0};
  size_t size = (size_t)w * h * 3;
  void *result = l->JxlButteraugliCompute(api, w, h, &rgb, ref, size, &rgb, dist, size);
  if (result) {
    *max = l->JxlButteraugliResultGetMaxDistance(result);
    *p3 = l->JxlButteraugliResultGetDistance(result, 3);
  }
  if (result && map) {
    const float *rows;
    uint32_t stride;
    l->JxlButteraugliResultGetDistmap(result, &rows, &stride);
    for (uint32_t y = 0; y < h; y++)
      memcpy(map + (size_t)y * w, rows + (size_t)y * stride, w * sizeof *map);
  }
  if (result)
    l->JxlButteraugliResultDestroy(result);
  l->JxlButteraugliApiDestroy(api);
  return result ? 0 : -1;
}

struct jx_encoder { const jx_library *l; void *p; };

int jx_encode(const jx_library *l, const uint8_t *jpeg, size_t size, int effort, jx_encoder **out) {
  jx_encoder *e = *out = calloc(1, sizeof *e);
  if (!e)
    return JX_FAILED;
  e->l = l;
  e->p = l->JxlEncoderCreate(NULL);
  void *frame = e->p ? l->JxlEncoderFrameSettingsCreate(e->p, NULL) : NULL;
  if (!frame)
    return JX_FAILED;
  if (l->JxlEncoderUseContainer(e->p, 1) || l->JxlEncoderStoreJPEGMetadata(e->p, 1) ||
      l->JxlEncoderFrameSettingsSetOption(frame, ENC_FRAME_SETTING_EFFORT, effort))
    return JX_FAILED;
  if (l->JxlEncoderAddJPEGFrame(frame, jpeg, size))
    return JX_REFUSED;
  l->JxlEncoderCloseInput(e->p);
  return JX_DONE;
}

int jx_encode_next(jx_encoder *e, uint8_t *to, size_t size, size_t *written) {
  size_t room = size;
  int status = e->l->JxlEncoderProcessOutput(e->p, &to, &room);
  *written = size - room;
  switch (status) {
  case ENC_SUCCESS: return JX_DONE;
  case ENC_NEED_MORE_OUTPUT: return JX_MORE;
  }
  return JX_REFUSED;
}

void jx_encode_end(jx_encoder *e) {
  if (e && e->p)
    e->l->JxlEncoderDestroy(e->p);
  free(e);
}

struct jx_decoder { const jx_library *l; void *p; uint64_t max_pixels; int restoring; };

int jx_decode(const jx_library *l, const uint8_t *file, size_t size, uint64_t max_pixels, jx_decoder **out) {
  jx_decoder *d = *out = calloc(1, sizeof *d);
  if (!d)
    return JX_FAILED;
  d->l = l;
  d->max_pixels = max_pixels;
  d->p = l->JxlDecoderCreate(NULL);
  if (!d->p || l->JxlDecoderSubscribeEvents(d->p, DEC_BASIC_INFO | DEC_JPEG_RECONSTRUCTION | DEC_FULL_IMAGE) ||
      l->JxlDecoderSetInput(d->p, file, size))
    return JX_FAILED;
  l->JxlDecoderCloseInput(d->p);
  return JX_DONE;
}

// small tells whether the picture has no more pixels than are allowed.
static int small(jx_decoder *d) {
  basic_info info = {0};
  if (d->l->JxlDecoderGetBasicInfo(d->p, &info))
    return 0;
  return (uint64_t)info.head.xsize * info.head.ysize <= d->max_pixels;
}

int jx_decode_next(jx_decoder *d, uint8_t *to, size_t size, size_t *written) {
  *written = 0;
  if (d->restoring && d->l->JxlDecoderSetJPEGBuffer(d->p, to, size))
    return JX_FAILED;
  for (;;) {
    switch (d->l->JxlDecoderProcessInput(d->p)) {
    case DEC_BASIC_INFO:
      if (!small(d))
        return JX_TOO_LARGE;
      continue;
    case DEC_JPEG_RECONSTRUCTION:
      if (d->restoring || d->l->JxlDecoderSetJPEGBuffer(d->p, to, size))
        return JX_FAILED;
      d->restoring = 1;
      continue;
    case DEC_JPEG_NEED_MORE_OUTPUT:
      if (!d->restoring)
        return JX_FAILED;
      *written = size - d->l->JxlDecoderReleaseJPEGBuffer(d->p);
      return JX_MORE;
    case DEC_FULL_IMAGE:
      if (!d->restoring)
        return JX_NO_JPEG;
      *written = size - d->l->JxlDecoderReleaseJPEGBuffer(d->p);
      return JX_DONE; // what comes behind it is nothing of the JPEG
    case DEC_NEED_IMAGE_OUT_BUFFER:
      return JX_NO_JPEG;
    case DEC_NEED_MORE_INPUT:
      return JX_SHORT;
    default: // DEC_SUCCESS before there was a picture, too
      return JX_FAILED;
    }
  }
}

void jx_decode_end(jx_decoder *d) {
  if (d && d->p)
    d->l->JxlDecoderDestroy(d->p);
  free(d);
}
