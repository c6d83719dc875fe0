// Stands in for parts of the Swift runtime in the static executable: see runtime.c.
#pragma once
// The commit that the program was built from; Scripts/build links another definition in the place of this one, which says "unknown".
const char *program_commit(void);
