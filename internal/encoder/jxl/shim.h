// The C side of package jxl: libjxl, found at run time. Prototypes and numbers
// are declared in shim.c rather than included, so that the program builds
// without libjxl's headers and links against nothing of it.
#ifndef SAFELIGHT_JXL_SHIM_H
#define SAFELIGHT_JXL_SHIM_H

#include <stddef.h>
#include <stdint.h>

typedef struct jx_library jx_library;
typedef struct jx_encoder jx_encoder;
typedef struct jx_decoder jx_decoder;

// jx_open loads a library, which stays for the life of the process. NULL on
// failure: problem, of the given size, says why.
jx_library *jx_open(const char *path, char *problem, size_t size);
void jx_free(jx_library *l); // for one that was not wanted; the library itself stays

uint32_t jx_version(const jx_library *l); // major * 1000000 + minor * 1000 + patch
int jx_has_butteraugli(const jx_library *l);

// jx_butteraugli compares two pictures of w × h pixels, 3 bytes each, sRGB. 0 on
// success. map, of w * h floats, may be NULL.
int jx_butteraugli(const jx_library *l, uint32_t w, uint32_t h, const uint8_t *ref, const uint8_t *dist,
                   double *max, double *p3, float *map);

// What the calls below answer.
enum {
  JX_DONE = 0,
  JX_MORE = 1,      // call again
  JX_FAILED = 2,    // the file is damaged, or the library has no memory
  JX_NO_JPEG = 3,   // decoder: the file was not made from a JPEG
  JX_SHORT = 4,     // decoder: the file ends too early
  JX_TOO_LARGE = 5, // decoder: more pixels than were allowed
  JX_REFUSED = 6    // encoder: the JPEG can't be represented
};

// jx_encode begins to turn a JPEG into a JPEG XL file. The JPEG is not used any
// more when it returns. *out is to be ended whatever the answer.
int jx_encode(const jx_library *l, const uint8_t *jpeg, size_t size, int effort, jx_encoder **out);
// jx_encode_next writes up to size bytes of the file.
int jx_encode_next(jx_encoder *e, uint8_t *to, size_t size, size_t *written);
void jx_encode_end(jx_encoder *e);

// jx_decode begins to restore a JPEG. file must stay where it is until the end.
// *out is to be ended whatever the answer.
int jx_decode(const jx_library *l, const uint8_t *file, size_t size, uint64_t max_pixels, jx_decoder **out);
// jx_decode_next writes up to size bytes of the JPEG.
int jx_decode_next(jx_decoder *d, uint8_t *to, size_t size, size_t *written);
void jx_decode_end(jx_decoder *d);

#endif
