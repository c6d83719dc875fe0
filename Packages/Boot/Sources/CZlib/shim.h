/* zlib as Debian's zlib1g-dev installs it; link: libz.a or libz.so. */
#include <zlib.h>
