/* Convolutions of images, with weights packed once: im2col, direct, sparse, depthwise.
 *
 *     y[n][o][u][v] = act(b[o] + sum over c, i, j of w[o][c][i][j] *
 *                         x[n][g*C/G + c][u*sh + i*dh - ph][v*sw + j*dw - pw])
 *
 * with zeros outside the image and g = o / (O/G) the group of output channel o: PyTorch's conv2d,
 * a cross-correlation. A convolution plan is a dns_plan whose rows are output channels and whose
 * columns are (channel of the group, i, j); nnz weights, to_dense and work follow from that. It is
 * executed by dns_conv_execute alone, never by dns_plan_execute.
 *
 * Sums: all formats but im2col begin with the bias and take stored weights in
 * ascending (c, i, j), one fp32 accumulator, one fused multiply-add each (two roundings in the
 * portable path); outside the image a weight is either skipped or multiplied by zero. im2col
 * is a matrix product per group, whose order is that of dns_gemm. With k stored weights of
 * the output channel
 *
 *     |y - y64| <= 2 (k + 2) u (|b| + sum |w x|),   u = 2^-24,
 *
 * and results do not depend on the number of threads, nor on the number of images.
 */
#ifndef DNS_CONV_H
#define DNS_CONV_H

#include "dns/blas.h"
#include "dns/count.h"
#include "dns/plan.h"

typedef enum dns_conv_layout {
    DNS_NCHW = 0, /* image [C][H][W], result [O][OH][OW] */
    DNS_NHWC = 1  /* image [H][W][C], result [OH][OW][O]; "channels last" */
} dns_conv_layout;

typedef enum dns_conv_format {
    DNS_CONV_IM2COL = 0,    /* im2col and a matrix product */
    DNS_CONV_CSR = 1,       /* non-zero weights only, directly on the padded image; a 1x1 kernel at
                               unit strides, unpadded, in one group: csr.h's product */
    DNS_CONV_DEPTHWISE = 2, /* one input channel per group */
    DNS_CONV_DIRECT = 3     /* all weights, directly on the padded image */
} dns_conv_format;

/* window.out_h and out_w are results of dns_conv_check. */
typedef struct dns_conv {
    size_t channels, outputs, groups; /* C, O, G */
    dns_window window;
    dns_conv_layout layout;
} dns_conv;

/* Checks the extents and sets the window's output extents. Fails with DNS_ERR_VALUE when an extent
 * is out of range, groups do not divide the channels, or the kernel does not fit the padded image;
 * DNS_ERR_OVERFLOW when an image, a result or the weights have 2^31 elements or more. */
DNS_NODISCARD dns_status dns_conv_check(dns_conv *conv, dns_error *err);

/* Packs w [O][C/G][kernel_h][kernel_w] for a checked convolution. The BLAS table must outlive an
 * im2col plan; NULL = the library's own product. Fails as dns_plan_new does; with DNS_ERR_VALUE
 * when the depthwise format is given more than one channel per group; with DNS_ERR_OVERFLOW when a
 * padded image has 2^30 elements or more. */
DNS_NODISCARD dns_status dns_conv_plan_create(const dns_conv *conv, dns_conv_format format,
                                              const float *w, const float *bias, dns_act act,
                                              const dns_blas *blas, dns_isa isa,
                                              const dns_alloc *alloc, dns_plan **out,
                                              dns_error *err);

/* The convolution of a plan; NULL when dns_conv_plan_create did not make it. */
const dns_conv *dns_conv_of(const dns_plan *plan);

/* Bytes of workspace, to be aligned to DNS_ALIGN, for n images. Fails with DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_conv_workspace(const dns_plan *plan, size_t n, size_t threads,
                                            size_t *bytes, dns_error *err);

/* Convolves call->n contiguous images that begin ldx elements apart; results ldy apart. */
void dns_conv_execute(const dns_plan *plan, const dns_call *call);

#endif
