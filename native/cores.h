// Plain C declarations: read by cffi too.

// The CPU cores of this machine that llama.cpp would compute on: physical ones, without efficiency cores.
int32_t lc_math_cores(void);
