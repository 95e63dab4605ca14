// The grid of a ragged micro-batch in a graph (see ragged.h).
#pragma once

#include "llama-graph.h"
#include "ragged.h"

#include <memory>

// Attention's inputs, with the rows of its grid.
class lc_ragged_input : public llm_graph_input_attn_kv {
  public:
    lc_ragged_input(const llm_graph_input_attn_kv & plain, ggml_context * ctx, const lc_streams_of & streams) :
        llm_graph_input_attn_kv(plain), n_rows_(streams.longest() * streams.n()), n_tokens_(streams.first(streams.n())) {
        spread_ = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n_rows_);
        gather_ = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n_tokens_);
        ggml_set_input(spread_);
        ggml_set_input(gather_);
    }

    // Queries of tokens, [width, heads, tokens], as rows of the grid.
    ggml_tensor * spread(ggml_context * ctx, ggml_tensor * q) const {
        const int64_t width = q->ne[0], heads = q->ne[1];
        if (q->nb[1] != ggml_row_size(q->type, width)) {
            q = ggml_cont(ctx, q);
        }
        q = ggml_view_2d(ctx, q, width * heads, q->ne[2], q->nb[2], 0);
        return ggml_reshape_3d(ctx, ggml_get_rows(ctx, q, spread_), width, heads, n_rows_);
    }

    // The tokens' rows of what was computed for the grid, [width, rows].
    ggml_tensor * gather(ggml_context * ctx, ggml_tensor * grid) const { return ggml_get_rows(ctx, grid, gather_); }

    void set_input(const llama_ubatch * ubatch) override {
        llm_graph_input_attn_kv::set_input(ubatch);
        if (!spread_->buffer) {
            return; // no layer attends
        }
        const lc_streams_of  streams(*ubatch, self_kq_mask->ne[3]);
        std::vector<int32_t> rows(n_rows_), tokens(n_tokens_);
        for (size_t s = 0; s < streams.n(); s++) {
            for (uint32_t i = 0; i < streams.longest(); i++) {
                const uint32_t token = streams.first(s) + std::min(i, streams.count(s) - 1);
                rows[s * streams.longest() + i] = (int32_t) token;
                if (i < streams.count(s)) {
                    tokens[token] = (int32_t) (s * streams.longest() + i);
                }
            }
        }
        ggml_backend_tensor_set(spread_, rows.data(), 0, ggml_nbytes(spread_));
        ggml_backend_tensor_set(gather_, tokens.data(), 0, ggml_nbytes(gather_));
    }

    // The next one has other streams or other numbers of tokens.
    bool can_reuse(const llm_graph_params &) override { return false; }

  private:
    int64_t       n_rows_, n_tokens_;
    ggml_tensor * spread_;
    ggml_tensor * gather_;
};

// Attention's inputs for a micro-batch, which may be ragged.
inline std::unique_ptr<llm_graph_input_attn_kv> lc_with_grid(std::unique_ptr<llm_graph_input_attn_kv> plain,
                                                             ggml_context * ctx, const llama_ubatch & ubatch) {
    const int64_t n_streams = plain->self_kq_mask->ne[3];
    if (n_streams == 1 || ubatch.equal_seqs()) {
        return plain;
    }
    return std::make_unique<lc_ragged_input>(*plain, ctx, lc_streams_of(ubatch, n_streams));
}
