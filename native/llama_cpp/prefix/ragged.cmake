# Micro-batches in which requests have different numbers of tokens: ragged.h. What the cache needs for them is in
# change.cmake, beside its other changes.
llama_cpp_edit(prefix_batch FILE src/llama-batch.cpp
  FROM [==[#include "llama-batch.h"
]==]
  TO [==[#include "llama-batch.h"
#include "ragged.h"
]==]
  FROM [==[    while (true) {
        // we can only add new n_seq_tokens tokens]==]
  TO [==[    if (n_keep_tail == lc_ragged_split) {
        std::vector<size_t> left;
        for (uint32_t s = 0; s < n_seqs; ++s) {
            left.push_back(seq_set_map[cur_seq_set[s]].size() - cur_idx[s]);
        }
        const std::vector<size_t> counts = lc_ragged_counts(left, n_ubatch);
        std::vector<int32_t> idxs;
        for (uint32_t s = 0; s < counts.size(); ++s) {
            const auto first = seq_set_map[cur_seq_set[s]].begin() + cur_idx[s];
            idxs.insert(idxs.end(), first, first + counts[s]);
        }
        for (const int32_t idx : idxs) {
            used[idx] = true;
            ++n_used;
        }
        const bool equal = std::count(counts.begin(), counts.end(), counts[0]) == (int64_t) counts.size();
        return ubatch_add(idxs, equal ? counts.size() : idxs.size(), equal);
    }

    while (true) {
        // we can only add new n_seq_tokens tokens]==]
)
llama_cpp_edit(prefix_graph FILE src/llama-graph.cpp
  FROM [==[#include "llama-graph.h"
]==]
  TO [==[#include "llama-graph.h"
#include "ragged_input.h"
]==]
  FROM [==[    // flash attention requires an f16 mask
    const auto type = cparams.flash_attn ? GGML_TYPE_F16 : GGML_TYPE_F32;

    ggml_tensor * res = ggml_new_tensor_4d(ctx, type, n_kv, n_tokens/n_stream, 1, n_stream);
]==]
  TO [==[    // flash attention requires an f16 mask
    const auto type = cparams.flash_attn ? GGML_TYPE_F16 : GGML_TYPE_F32;

    GGML_UNUSED(n_tokens);
    ggml_tensor * res = ggml_new_tensor_4d(ctx, type, n_kv, lc_streams_of(ubatch, n_stream).longest(), 1, n_stream);
]==]
  FROM [==[    res &= (kq_mask->ne[0] == n_kv);
    res &= (kq_mask->ne[1] == n_tokens/n_stream);
    res &= (kq_mask->ne[2] == 1);
    res &= (kq_mask->ne[3] == n_stream);

    return res;
}

// impl
]==]
  TO [==[    res &= (kq_mask->ne[0] == n_kv);
    res &= (kq_mask->ne[1]*n_stream == n_tokens);
    res &= (kq_mask->ne[2] == 1);
    res &= (kq_mask->ne[3] == n_stream);

    return res;
}

// impl
]==]
  FROM [==[    auto inp = build_attn_inp_kv_impl(ctx0, ubatch, hparams, cparams, mctx_cur);

    return]==]
  TO [==[    auto inp = lc_with_grid(build_attn_inp_kv_impl(ctx0, ubatch, hparams, cparams, mctx_cur), ctx0, ubatch);

    return]==]
  FROM [==[    ggml_tensor * kq_mask = inp->get_kq_mask();

    ggml_tensor * cur = build_attn_mha(q, k, v, kq_b, kq_mask, sinks, v_mla, 0, kq_scale, il);
    cb(cur, "kqv_out", il);

    if (inp->self_v_rot) {
        cur = llama_mul_mat_hadamard(ctx0, cur, inp->self_v_rot);
    }

    if (wo) {
        if (arch == LLM_ARCH_GLM4 ]==]
  TO [==[    ggml_tensor * kq_mask = inp->get_kq_mask();

    const auto * lc_grid = dynamic_cast<const lc_ragged_input *>(inp);
    if (lc_grid) {
        q = lc_grid->spread(ctx0, q);
    }
    ggml_tensor * cur = build_attn_mha(q, k, v, kq_b, kq_mask, sinks, v_mla, 0, kq_scale, il);
    if (lc_grid) {
        cur = lc_grid->gather(ctx0, cur);
    }
    cb(cur, "kqv_out", il);

    if (inp->self_v_rot) {
        cur = llama_mul_mat_hadamard(ctx0, cur, inp->self_v_rot);
    }

    if (wo) {
        if (arch == LLM_ARCH_GLM4 ]==]
)
