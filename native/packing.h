// Packed copies of an encoder's weights, where the build has the products for them (llama_cpp/encoders).
#pragma once

#include "llama.h"

#include <memory>

class lc_packed_weights;

struct lc_packed {
    lc_packed();
    ~lc_packed();

    // Packs the weights of a model that only reads; those of one that writes text stay as they are. Fast: where the CPU
    // multiplies bytes faster, those of feed-forward layers and of the outputs of attention are packed in bytes. Queries,
    // keys and values would lose most by it.
    void pack(const llama_model * model, const llama_context * ctx, bool fast);

    // Whether some are packed in bytes.
    bool in_bytes = false;

  private:
    std::unique_ptr<lc_packed_weights> weights;
};
