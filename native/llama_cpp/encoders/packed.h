// Weights of encoders, packed once for encoders.cpp. Plain C++ without ggml's internals, for whoever loads a model.
#pragma once

#include "form.h"
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

    // Whether this CPU, as the system allows it, multiplies weights in a form.
    static bool has(lc_encoders::form form);

    // The fastest form; with `fast`, one that is less exact.
    static lc_encoders::form best(bool fast);

    // Packs a matrix that a product with a vector or matrix of inputs will read as it is now; what cannot be packed (its
    // type, its place in memory, this CPU) is left as it is. As bytes, a product is less exact; `spread`, unless empty,
    // then says for each input how large it is next to the others. Throws if this CPU has other forms, but not this.
    void add(ggml_tensor * weight, lc_encoders::form form, const std::vector<float> & spread = {});

    // Bytes that the copies take.
    size_t size() const;

    struct copy; // private to encoders.cpp

  private:
    std::vector<std::unique_ptr<copy>> copies;
};
