#include "CAddressSpace.h"
