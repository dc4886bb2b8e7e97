/* What the convolution formats share: conv.c (im2col), sconv.c (sparse, direct, depthwise),
 * conv_isa.c. */
#ifndef DNS_CONV_INTERNAL_H
#define DNS_CONV_INTERNAL_H

#include "dns/conv.h"

enum { CONV_PANEL = 6 }; /* output channels of a direct convolution's registers */

/* Begins every convolution plan. */
typedef struct conv_plan {
    dns_plan base;
    dns_conv conv;
    void (*run)(const dns_plan *plan, const dns_call *call);
} conv_plan;

/* One stored weight: byte offset of its shifted image in the padded one, and its value. */
typedef struct conv_entry {
    uint32_t offset;
    float value;
} conv_entry;

/* Rows of a padded channel, width unstrided: to[r*pitch + t] = x[(first + r*step)*width + t - left]
 * for r < rows and t < pitch, zeros outside the image; left + width <= pitch. */
typedef struct conv_pad {
    const float *x; /* [height][width] */
    int64_t height, first, step;
    size_t width, left, rows, pitch;
    float *to;
} conv_pad;

/* Some output channels at one tile of flat positions, for one block of input channels. */
typedef struct conv_run {
    const uint32_t *counts; /* [n_rows] entries of each row; they follow one another */
    const conv_entry *entries;
    size_t n_rows;
    const float *x;    /* the tile's first position in the padded image, offset 0 */
    float *sums;       /* [n_rows][pitch of a tile] */
    const float *bias; /* [n_rows] in the first block; NULL: sums hold the sums so far */
    bool last;         /* no later block: activate, and write to y */
    dns_act act;
    size_t vectors; /* of the tile */
    /* Result: position f = first + t of the tile is row f / width_flat, column f % width_flat. */
    size_t first, width_flat, out_h, out_w;
    float *y;                 /* of the first row, at row 0 and column 0 */
    ptrdiff_t y_row, y_pixel; /* elements between output channels and between pixels */
} conv_run;

/* Direct convolution: some output channels at a tile of flat positions, for the taps of one block
 * of input channels. In `at`, counts and entries are not used, and sums has the tile's pitch. */
typedef struct conv_direct_run {
    conv_run at;
    const uint32_t *offsets; /* [n_taps] bytes from at.x */
    size_t n_taps;
    const float *w; /* panels of conv_panel_rows output channels: [n_taps][rows] */
} conv_direct_run;

/* Output channels of the next panel when `left` are left. */
static inline size_t
conv_panel_rows(size_t left)
{
    return left >= CONV_PANEL ? CONV_PANEL : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* One row of a depthwise result, channels last. */
typedef struct conv_dw_run {
    const dns_conv *conv;
    const float *x;    /* image [H][W][C] */
    const float *w;    /* [kernel_h * kernel_w][C] */
    const float *bias; /* [C] */
    dns_act act;
    size_t out_row;
    float *y; /* [OW][C] */
} conv_dw_run;

/* Planes [first, stop) of a depthwise result, channels first; the kernel is 3x3 or 5x5, with unit
 * stride and dilation. */
typedef struct conv_planes_run {
    const dns_conv *conv;
    const float *x;    /* image [C][H][W] */
    const float *w;    /* [O][kernel_h * kernel_w] */
    const float *bias; /* [O] */
    dns_act act;
    size_t first, stop;
    float *y; /* [O][OH][OW] */
} conv_planes_run;

typedef struct dns_conv_ops {
    dns_isa isa;
    size_t lanes;
    size_t tile_vectors; /* most vectors of a tile */
    void (*pad)(const conv_pad *pad);
    void (*run)(const conv_run *run);
    void (*direct)(const conv_direct_run *run);
    void (*depthwise)(const conv_dw_run *run);
    void (*planes)(const conv_planes_run *run);
} dns_conv_ops;

const dns_conv_ops *dns_conv_ops_select(dns_isa isa);

/* to[t] = x[(first + t*step) * pixel], zero where the position is outside [0, width) or x is NULL,
 * for t < n. */
void dns_conv_take(const float *x, int64_t width, ptrdiff_t pixel, int64_t first, int64_t step,
                   size_t n, float *to);

/* Whether the image is the matrix that the weights multiply: one pixel per kernel, as it lies. */
bool dns_conv_is_matrix(const dns_conv *conv);

/* Makes a sparse plan of such a convolution in one group; arguments as dns_conv_plan_create. */
DNS_NODISCARD dns_status dns_conv_product_create(const dns_conv *conv, const float *w,
                                                 const float *bias, dns_act act, dns_isa isa,
                                                 const dns_alloc *alloc, dns_plan **out,
                                                 dns_error *err);

/* Makes any other plan but that of im2col; arguments as dns_conv_plan_create. */
DNS_NODISCARD dns_status dns_conv_sparse_create(const dns_conv *conv, dns_conv_format format,
                                                const float *w, const float *bias, dns_act act,
                                                dns_isa isa, const dns_alloc *alloc, dns_plan **out,
                                                dns_error *err);

#endif
