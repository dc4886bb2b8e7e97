/* Fourier transforms of complex vectors, and Fourier mixing of real matrices.
 *
 *     y[k] = sum over j < n of x[j] e^(-2 pi i j k / n),   n = 2^m, 3 <= m <= 13
 *
 * not normalised. Complex numbers are pairs of floats (real, imaginary); leading dimensions are in
 * floats. The relative error in the 2-norm is at most 3e-7 m. A vector's result does not depend on
 * its neighbours or on the number of threads; it differs between instruction-set levels, and
 * between rows and columns, in the last bits.
 *
 * Fourier mixing (Lee-Thorp and others, FNet, NAACL 2022) is y = Re(FFT_L(FFT_d(x))) of a real
 * matrix x [L][d]:
 *
 *     y[i][k] = sum over r, c of x[r][c] cos(2 pi (i r / L + k c / d)),
 *
 * with a relative error in the 2-norm of at most 3e-7 (log2 L + log2 d).
 */
#ifndef DNS_FFT_H
#define DNS_FFT_H

#include <stddef.h>

#include "dns/cpu.h"
#include "dns/mem.h"
#include "dns/status.h"
#include "dns/threads.h"

#define DNS_FFT_MIN_LOG2 3
#define DNS_FFT_MAX_LOG2 13

/* Roots of unity for one length and level; immutable, any number of threads may use it at once. */
typedef struct dns_fft dns_fft;

/* Makes the roots for length 2^log2n. Fails with DNS_ERR_VALUE for other lengths than above, or
 * DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_fft_create(unsigned log2n, dns_isa isa, const dns_alloc *alloc,
                                        dns_fft **out, dns_error *err);

/* Frees it; NULL is ignored. */
void dns_fft_destroy(dns_fft *fft);

/* log2 of the length. */
unsigned dns_fft_log2n(const dns_fft *fft);

/* Bytes of workspace, to be aligned to DNS_ALIGN, on a pool of `threads` threads. */
size_t dns_fft_workspace(const dns_fft *fft, size_t threads);

/* One transform of each of `batch` rows of n contiguous numbers, from x to y, which are the same
 * array (ldx = ldy) or apart. Nothing outside the rows is read or written. */
void dns_fft_rows(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                  size_t batch, void *ws, dns_threads *threads);

/* One transform of each of `columns` columns of n rows; otherwise as dns_fft_rows. */
void dns_fft_columns(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                     size_t columns, void *ws, dns_threads *threads);

/* Bytes of workspace of a mixing; rows is of length L, cols of length d, both of one level. */
size_t dns_fourier_workspace(const dns_fft *rows, const dns_fft *cols, size_t threads);

/* y = the mixing of x [L][ldx >= d]; x and y are the same array (ldx = ldy) or apart. */
void dns_fourier_mix(const dns_fft *rows, const dns_fft *cols, const float *x, ptrdiff_t ldx,
                     float *y, ptrdiff_t ldy, void *ws, dns_threads *threads);

#endif
