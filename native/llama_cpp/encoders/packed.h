// Weights of encoders, packed once for encoders.cpp. Plain C++ without ggml's internals, for whoever loads a model.
#pragma once

#include "ggml.h"

#include <cstddef>
#include <memory>
#include <vector>

// Packed copies of a model's weights. They are used as long as this lives; the model must outlive it, and no graph may
// be running when it ends.
class lc_packed_weights {
  public:
    lc_packed_weights();
    ~lc_packed_weights();
    lc_packed_weights(const lc_packed_weights &)             = delete;
    lc_packed_weights & operator=(const lc_packed_weights &) = delete;

    // Whether weights of a type can be packed, on the CPU that this is compiled for.
    static bool can_pack(ggml_type type);

    // Whether this CPU's bytes multiply faster than its 16-bit integers.
    static bool has_bytes();

    // Packs a matrix that a product with a vector or matrix of inputs will read as it is now; what cannot be packed (its
    // type, its place in memory, this CPU) is left as it is. In bytes, where it has those, a product is faster and less
    // exact; `spread`, unless empty, then says for each input how large it is next to the others.
    void add(ggml_tensor * weight, bool bytes = false, const std::vector<float> & spread = {});

    // Bytes that the copies take.
    size_t size() const;

    struct copy; // private to encoders.cpp

  private:
    std::vector<std::unique_ptr<copy>> copies;
};
