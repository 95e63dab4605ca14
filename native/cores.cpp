#include "common.h"
#include "error.h"

extern "C" {
#include "cores.h"

int32_t lc_math_cores(void) {
    return lc_guard<int32_t>(1, [] { return common_cpu_get_num_math(); });
}
}
