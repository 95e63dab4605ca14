// Small matrix products on the CPU, to see whether it computes what it should. Plain C declarations: read by
// cffi too.

// How many products there are: one for each type of weights and each kind of memory that a model's weights of
// that type may lie in on this CPU.
int32_t lc_selftest_count(void);

// What product `index` is, e.g. "q4_0 in AMX memory". Valid for the life of the process.
const char * lc_selftest_name(int32_t index);

// Computes it, for one row and for several, as a plain product and as one of experts, through llama.cpp's graphs.
// Returns the greatest error against plain arithmetic on the same weights: the mean squared difference over the
// mean square. NaN after a failure, which lc_take_error() describes.
double lc_selftest_run(int32_t index);
