/* libzstd as Debian's libzstd-dev installs it; link: libzstd.a or libzstd.so. What is only promised to those who link it statically is named here. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

/* Swift does not see names that are macros for names. */
static const ZSTD_dParameter zstd_stable_output = ZSTD_d_stableOutBuffer;
