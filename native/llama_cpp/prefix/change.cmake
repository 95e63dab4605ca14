# The server core is compiled through prefix.cpp, and asks it before it chooses a slot and before each step.
llama_cpp_edit(prefix_server FILE tools/server/server-context.cpp
  FROM [==[#include "mtmd-helper.h"
]==]
  TO [==[#include "mtmd-helper.h"
#include "prefix.h"
]==]
  FROM [==[    server_prompt prompt;

    bool prompt_save]==]
  TO [==[    server_prompt prompt;
    lc_slot_sharing lc;
    llama_tokens lc_ahead; // tokens of the answer that were not read yet, before the last

    bool prompt_save]==]
  FROM [==[    friend struct server_context;
]==]
  TO [==[    friend struct server_context;
    friend struct lc_prefix;
    friend void lc_prefix_configure(server_context & context);
    friend int lc_prefix_add_adapter(server_context & context, llama_adapter_lora * adapter);
    friend void lc_prefix_remove_adapter(server_context & context, int place);
    std::shared_ptr<lc_memory> lc_held;
    std::shared_ptr<lc_adapter_changes> lc_adapters;
    int lc_turn = -1;
    lc_drafts lc_spec;
]==]
  # a request with pictures that has to wait for a slot comes by again, and is whole by then
  FROM [==[            task.cli_files.clear();
]==]
  TO [==[            task.cli_files.clear();
            task.cli = false;
]==]
  # which slot runs a task
  FROM [==[    server_slot * get_available_slot(const server_task & task) {
]==]
  TO [==[    server_slot * get_available_slot(const server_task & task) {
        return lc_prefix::choose(*this, task);
    }

    server_slot * get_available_slot_as_published(const server_task & task) {
]==]
  # only what the task has left is saved for it
  FROM [==[                    std::vector<char> packed;
                    try {
]==]
  TO [==[                    std::vector<char> packed;
                    try {
                        lc_prefix::check_left_by(*this, *slot, task.id_target);
]==]
  FROM [==[                        slot->prompt.tokens = std::move(restored);
]==]
  TO [==[                        slot->prompt.tokens = std::move(restored);
                        slot->lc = {};
                        slot->task_prev.reset(); // it is no longer what that task has left
                        slot->lora = params_base.lora_adapters; // states are of conversations without others
]==]
  # tokens that need no model
  FROM [==[            // no speculative decoding
            i_batch = batch.size();
]==]
  TO [==[            for (const llama_token token : lc_ahead) {
                add_ok &= batch.add(id, token, prompt.tokens.pos_next(), false, false);
                prompt.tokens.push_back(token);
            }
            lc_ahead.clear();
            // no speculative decoding
            i_batch = batch.size();
]==]
  FROM [==[                id = common_sampler_sample(slot.smpl.get(), slot.ctx_tgt, tok_idx);
]==]
  TO [==[                id = lc_prefix::sample(slot, tok_idx);
]==]
  FROM [==[            if (!process_token(result, slot)) {
                // release slot because of stop condition
]==]
  TO [==[            if (!process_token(result, slot) || !lc_prefix::append_forced(*this, slot, accept_special_token)) {
                // release slot because of stop condition
]==]
  # drafts: how many tokens, and only where they pay
  FROM [==[                const int n_draft_max = slot.get_n_draft_max();
]==]
  TO [==[                const int n_draft_max = lc_prefix::draft_room(*this, slot);
]==]
  FROM [==[            slot.stats.n_draft_tokens += draft.size();
]==]
  TO [==[            draft.resize(std::min(draft.size(), (size_t) lc_prefix::draft_room(*this, slot)));
            lc_spec.drafted += (int) draft.size();
            slot.stats.n_draft_tokens += draft.size();
]==]
  FROM [==[            slot.stats.n_draft_accepted += n_accepted;
]==]
  TO [==[            slot.stats.n_draft_accepted += n_accepted;
            lc_spec.accepted += (int) n_accepted;
]==]
  # the place of an adapter that has gone
  FROM [==[            if (it != config.end()) {
                output[i].scale = it->second;
]==]
  TO [==[            if (it != config.end() && output[i].ptr != nullptr) {
                output[i].scale = it->second;
]==]
  # a cache that was computed with other LoRA scales is not used
  FROM [==[            slot.lora = params_base.lora_adapters;
]==]
  TO [==[            lc_prefix::use_loras_as_loaded(*this, slot);
]==]
  # who reads, and who waits
  FROM [==[        // start populating the batch for this iteration
]==]
  TO [==[        lc_prefix::plan(*this);
        // start populating the batch for this iteration
]==]
  FROM [==[                // check if this is a child slot
]==]
  TO [==[                if (!lc_prefix::has_turn(*this, slot)) {
                    return;
                }
                // check if this is a child slot
]==]
  FROM [==[            if (!slot_batched) {
                slot_batched = &slot;
            } else if (!slot_batched->can_batch_with(slot)) {
]==]
  TO [==[            if (!lc_prefix::has_turn(*this, slot)) {
                return;
            }
            if (!slot_batched) {
                slot_batched = &slot;
            } else if (!slot_batched->can_batch_with(slot)) {
]==]
  FROM [==[                metrics_flush_idle();
]==]
  TO [==[                metrics_flush_idle();
                lc_prefix::at_rest(*this);
]==]
  FROM [==[                                n_past = slot.prompt.tokens.get_common_prefix(input_tokens);
]==]
  TO [==[                                n_past = slot.prompt.tokens.get_common_prefix(input_tokens);
                                n_past = lc_prefix::usable(*this, slot, n_past);
]==]
  FROM [==[                        slot.prompt.tokens.push_back(cur_tok);
]==]
  TO [==[                        slot.prompt.tokens.push_back(cur_tok);
                        if (lc_prefix::stops_here(*this, slot)) {
                            break;
                        }
]==]
)
# A copy from one request's cache to another's takes along what is used, not the room of a whole context, and what is
# alike in both is noted for attention.
llama_cpp_edit(prefix_cache FILE src/llama-kv-cache.cpp
  FROM [==[#include "llama-kv-cache.h"
]==]
  TO [==[#include "llama-kv-cache.h"
#include "alike.h"
#include "ragged.h"
#include "streams.h"
]==]
  # requests with different numbers of tokens in one micro-batch, where our attention computes it
  FROM [==[            auto ubatch = n_stream == 1 ? balloc.split_simple(n_ubatch) : balloc.split_equal(n_ubatch, true, 0);
]==]
  TO [==[            const bool lc_ragged = lc_attends(layers) && !v_trans && !other && model.arch != LLM_ARCH_DFLASH &&
                                   hparams.n_rel_attn_bkts == 0; // T5 adds what has no grid to its scores
            auto ubatch = n_stream == 1 ? balloc.split_simple(n_ubatch)
                                        : balloc.split_equal(n_ubatch, true, lc_ragged ? lc_ragged_split : 0);
]==]
  FROM [==[    if (n_stream > 1) {
        GGML_ASSERT(n_tokens % ubatch.n_seqs_unq == 0);

        n_seqs   = ubatch.n_seqs_unq;
        n_tokens = n_tokens / n_seqs;
    }
]==]
  TO [==[    if (n_stream > 1) {
        n_seqs   = ubatch.n_seqs_unq;
    }
    const lc_streams_of lc_streams(ubatch, n_seqs);
]==]
  FROM [==[        const auto seq_id = ubatch.seq_id_unq[s];

        if (n_stream > 1) {
            GGML_ASSERT(ubatch.n_seq_id[s*n_tokens]    == 1);
            GGML_ASSERT(ubatch.seq_id  [s*n_tokens][0] == seq_id);
        }
]==]
  TO [==[        const auto seq_id = ubatch.seq_id_unq[s];

        n_tokens = lc_streams.count(s);
        if (n_stream > 1) {
            GGML_ASSERT(ubatch.n_seq_id[lc_streams.first(s)]    == 1);
            GGML_ASSERT(ubatch.seq_id  [lc_streams.first(s)][0] == seq_id);
        }
]==]
  FROM [==[    int64_t n_stream;
    int64_t n_tps;
};
]==]
  TO [==[    int64_t n_stream;
    int64_t n_tps;

    const lc_streams_of & lc_streams;
};
]==]
  FROM [==[        for (uint32_t ii = 0; ii < n_tps; ++ii) {
            const uint32_t i = s*n_tps + ii;

            const llama_seq_id seq_id = ubatch->seq_id[i][0];

            const auto & cells]==]
  TO [==[        for (uint32_t ii = 0; ii < n_tps; ++ii) {
            const uint32_t lc_row = s*n_tps + ii;
            if (ii >= args.lc_streams.count(s)) { // a row of the grid without a token
                std::fill(data + n_kv*lc_row, data + n_kv*(lc_row + 1), mask_drop);
                continue;
            }
            const uint32_t i = args.lc_streams.first(s) + ii;

            const llama_seq_id seq_id = ubatch->seq_id[i][0];

            const auto & cells]==]
  FROM [==[            const uint64_t idst = n_kv*i;
]==]
  TO [==[            const uint64_t idst = n_kv*lc_row;
]==]
  FROM [==[                    seq_srct[seq_id] = i;
]==]
  TO [==[                    seq_srct[seq_id] = lc_row;
]==]
  FROM [==[    GGML_ASSERT(n_tokens%n_stream == 0);

    // n_tps == n_tokens_per_stream
    const int64_t n_tps = n_tokens/n_stream;

    // see llama_non_causal_type]==]
  TO [==[    // n_tps == n_tokens_per_stream
    const lc_streams_of lc_streams(*ubatch, n_stream);
    const int64_t n_tps = lc_streams.longest();
    GGML_UNUSED(n_tokens);

    // see llama_non_causal_type]==]
  FROM [==[        /*.n_tps            =*/ n_tps,
    };
]==]
  TO [==[        /*.n_tps            =*/ n_tps,
        /*.lc_streams       =*/ lc_streams,
    };
]==]
  EVERY [==[sinfo\.n_stream\(\)\*sinfo\.size\(\)|\(int64_t\) sinfo\.size\(\)\*sinfo\.n_stream\(\)]==]
  TO [==[lc_first(sinfo, sinfo.n_stream())]==]
  FROM [==[        for (uint32_t ii = 0; ii < sinfo.size(); ++ii) {
            const uint32_t i = s*sinfo.size() + ii;
]==]
  TO [==[        const uint32_t lc_base = lc_first(sinfo, s);
        for (uint32_t ii = 0; ii < sinfo.size(); ++ii) {
            const uint32_t i = lc_base + ii;
]==]
  EVERY [==[const int64_t offs = sinfo]==]
  TO [==[const uint32_t lc_base = lc_first(sinfo, s);
        const int64_t offs = sinfo]==]
  EVERY [==[s\*sinfo\.size\(\)]==]
  TO [==[lc_base]==]
  EVERY [==[< sinfo\.size\(\)]==]
  TO [==[< sinfo.idxs[s].size()]==]
  FROM [==[                /*.mem_size   =*/ size_t(2u*(1 + n_stream)*n_layer*ggml_tensor_overhead()),
]==]
  TO [==[                /*.mem_size   =*/ size_t((2u*(1 + n_stream)*n_layer + 1)*ggml_tensor_overhead()),
]==]
  FROM [==[    const bool is_mla = hparams.is_mla();
]==]
  TO [==[    const bool is_mla = hparams.is_mla();
    ggml_tensor * lc_table = nullptr;
]==]
  FROM [==[        std::vector<ggml_tensor *> k_stream;
        std::vector<ggml_tensor *> v_stream;
]==]
  TO [==[        if (n_stream > 1 && !is_mla && buft == ggml_backend_cpu_buffer_type()) {
            lc_table = lc_table ? lc_table : lc_new_alike(ctx, n_stream);
            k->extra = lc_table;
        }

        std::vector<ggml_tensor *> k_stream;
        std::vector<ggml_tensor *> v_stream;
]==]
  FROM [==[        const size_t n_copy = sc_info.ssrc.size();
]==]
  TO [==[        const size_t n_copy = sc_info.ssrc.size();
        uint32_t lc_rows = 0; // that any of the copies needs
        for (const auto stream : sc_info.sdst) {
            lc_rows = std::max(lc_rows, v_cells[stream].used_max_p1());
        }
]==]
  FROM [==[                ggml_backend_tensor_copy(layer.k_stream[ssrc], layer.k_stream[sdst]);
]==]
  TO [==[                lc_copy_rows(layer.k_stream[ssrc], layer.k_stream[sdst], lc_rows, false);
]==]
  FROM [==[                    ggml_backend_tensor_copy(layer.v_stream[ssrc], layer.v_stream[sdst]);
]==]
  TO [==[                    lc_copy_rows(layer.v_stream[ssrc], layer.v_stream[sdst], lc_rows, v_trans);
]==]
  FROM [==[                }
            }
        }
    }

    if (do_shift) {
]==]
  TO [==[                }
            }
            lc_note_copied(layers, ssrc, sdst, lc_rows);
        }
    }

    if (do_shift) {
        for (uint32_t s = 0; s < n_stream; ++s) {
            if (v_cells[s].get_has_shift()) {
                lc_note_change(layers, s, 0);
            }
        }
]==]
  FROM [==[void llama_kv_cache::apply_ubatch(const slot_info & sinfo, const llama_ubatch & ubatch) {
]==]
  TO [==[void llama_kv_cache::apply_ubatch(const slot_info & sinfo, const llama_ubatch & ubatch) {
    for (uint32_t s = 0; s < sinfo.n_stream(); ++s) {
        lc_note_change(layers, sinfo.strm[s], *std::min_element(sinfo.idxs[s].begin(), sinfo.idxs[s].end()));
    }
]==]
  FROM [==[bool llama_kv_cache::state_read_data(llama_io_read_i & io, uint32_t strm, uint32_t cell_count, const slot_info & sinfo) {
]==]
  TO [==[bool llama_kv_cache::state_read_data(llama_io_read_i & io, uint32_t strm, uint32_t cell_count, const slot_info & sinfo) {
    lc_note_change(layers, strm, 0);
]==]
  FROM [==[    // zero the K/V data of the failed restore attempt]==]
  TO [==[    lc_note_change(layers, strm, 0);
    // zero the K/V data of the failed restore attempt]==]
)
# Adapters are loaded and unloaded beside contexts that count them.
llama_cpp_edit(prefix_context FILE src/llama-context.cpp
  FROM [==[#include "llama-context.h"
]==]
  TO [==[#include "llama-context.h"
#include "adapters_lock.h"
]==]
  FROM [==[        for (const auto & lora : model.loras) {
]==]
  TO [==[        const std::lock_guard<std::mutex> lc_lock(lc_adapters_lock());
        for (const auto & lora : model.loras) {
]==]
)
llama_cpp_edit(prefix_adapter FILE src/llama-adapter.cpp
  FROM [==[#include "llama-adapter.h"
]==]
  TO [==[#include "llama-adapter.h"
#include "adapters_lock.h"
]==]
  FROM [==[    model.loras.insert(&adapter);
]==]
  TO [==[    {
        const std::lock_guard<std::mutex> lc_lock(lc_adapters_lock());
        model.loras.insert(&adapter);
    }
]==]
  FROM [==[        adapter->model->loras.erase(adapter);
]==]
  TO [==[        const std::lock_guard<std::mutex> lc_lock(lc_adapters_lock());
        adapter->model->loras.erase(adapter);
]==]
)
include("${llama_cpp_changes_dir}/prefix/ragged.cmake")
if(prefix_server AND prefix_cache AND prefix_context AND prefix_adapter AND prefix_batch AND prefix_graph)
  llama_cpp_replace_source(server-context server-context.cpp "${llama_cpp_changes_dir}/prefix/prefix.cpp")
  target_sources(server-context PRIVATE "${llama_cpp_changes_dir}/prefix/disk.cpp")
  target_include_directories(server-context PRIVATE
    "${llama_cpp_changes_dir}/prefix" "${llama_cpp_changes_dir}/.." "${CMAKE_CURRENT_BINARY_DIR}"
    "${LLAMA_CPP_SOURCE_DIR}/tools/server"
    "${LLAMA_CPP_SOURCE_DIR}/src" "${LLAMA_CPP_SOURCE_DIR}/vendor")
  llama_cpp_replace_source(llama llama-kv-cache.cpp "${prefix_cache}")
  llama_cpp_replace_source(llama llama-context.cpp "${prefix_context}")
  llama_cpp_replace_source(llama llama-batch.cpp "${prefix_batch}")
  llama_cpp_replace_source(llama llama-graph.cpp "${prefix_graph}")
  llama_cpp_replace_source(llama llama-adapter.cpp "${prefix_adapter}")
  target_include_directories(llama PRIVATE
    "${llama_cpp_changes_dir}/prefix" "${llama_cpp_changes_dir}/attention" "${llama_cpp_changes_dir}/.."
    "${LLAMA_CPP_SOURCE_DIR}/src")
  set(LLAMACPP_SHARED_PREFIXES ON)
endif()
