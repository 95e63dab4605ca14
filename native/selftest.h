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

// Sizes and options of one attention, as ggml_flash_attn_ext() takes them.
struct lc_attention_shape {
    bool    half;       // keys and values are f16, else f32
    int32_t width_k;    // floats of a query and of a key
    int32_t width_v;    // floats of a value
    int32_t n_keys;
    int32_t n_tokens;   // queries of each head
    int32_t n_heads;    // of the queries
    int32_t n_heads_kv; // of the keys and values; divides n_heads
    int32_t n_streams;  // sequences apart from one another
    int32_t window;     // how many keys each query sees; 0: no mask
    bool    sinks;      // an attention sink for each head
    float   max_bias;   // of ALiBi; 0: none
    float   softcap;    // of the scores; 0: none
    int32_t n_threads;
    int32_t alike;      // the first keys and values that all streams of a cache have in common, which are only in the
                        // first one's memory; 0: no cache
};

// Computes the attention of random queries, keys and values through llama.cpp's graphs. Returns the mean squared
// difference from plain arithmetic over the mean square. NaN after a failure, which lc_take_error() describes.
double lc_selftest_attention(const struct lc_attention_shape * shape);

// Writes to, and copies between, the streams of a cache at random, and counts how often what is noted as alike is not.
// -1 after a failure, which lc_take_error() describes.
int64_t lc_selftest_alike(int32_t n_streams, int32_t n_steps, uint32_t seed);

// Sizes of one product, as ggml_mul_mat() takes them, or ggml_mul_mat_id() with experts.
struct lc_product_shape {
    int32_t type;      // of the weights: an enum ggml_type that is quantised
    int32_t n_in;      // weights of a row
    int32_t n_out;     // rows of weights
    int32_t n_tokens;  // of each stream
    int32_t n_streams; // matrices of tokens; with experts, inputs of each token, 1 or 2
    int32_t n_experts; // matrices of weights, two of which each token goes to; 0: a plain product
    bool    apart;     // the inputs' rows do not lie next to one another
    bool    extreme;   // weights and inputs are as large as their types hold, else around zero
    int32_t n_threads;
};

// Computes the product through llama.cpp's graphs. Returns the greatest difference from its own dot product of one
// row and one token, over the root mean square. NaN after a failure, which lc_take_error() describes.
// `output`, unless NULL, receives the results: n_streams times n_tokens rows of n_out (with experts: n_tokens times
// two rows). The first tokens' inputs are the same whatever n_tokens is.
double lc_selftest_product(const struct lc_product_shape * shape, float * output);

// A normalisation, products of the same inputs with packed f16 weights, and what follows each of them.
struct lc_chain_shape {
    int32_t n_in;       // weights of a row, a multiple of 16
    int32_t n_out;      // rows of weights
    int32_t n_tokens;
    int32_t n_products; // 1 to 4
    int32_t n_threads;
    bool    norm;       // the inputs are normalised, with weights and a bias
    bool    bias;       // a bias is added to each product,
    bool    gelu;       // then it goes through GELU,
    bool    residual;   // then something of its own size is added
    int32_t form;       // which way the weights are packed: words, tiles or bytes (llama_cpp/encoders/form.h)
};

// Computes it through llama.cpp's graphs, as one and step by step. Returns the greatest difference over the greatest
// value; NaN after a failure, which lc_take_error() describes. *n_unwritten: how many results between the steps were
// never written, because what follows was computed along.
double lc_selftest_chain(const struct lc_chain_shape * shape, int32_t * n_unwritten);
