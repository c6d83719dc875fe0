// Stands in for a part of the Swift runtime in the static executable: see runtime.c.
#pragma once
const char *swift_copyAuxiliaryExecutablePath(const char *name);
