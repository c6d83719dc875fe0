/* libfdt as Debian's libfdt-dev installs it; link: libfdt.a or libfdt.so. */
#include <libfdt.h>
