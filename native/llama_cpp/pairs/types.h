// Which of a cross-encoder's tokens belong to the second text of a pair.
//
// BERT adds one of two vectors to each token: one for "[CLS] first [SEP]", one for "second [SEP]" (arXiv:1810.04805, figure
// 2). llama.cpp adds the first to all. Tokenizers that are no WordPiece know one kind only.
#pragma once

#include "llama-graph.h"
#include "llama-model.h"
#include "llama-vocab.h"

#include <memory>
#include <set>
#include <vector>

class lc_input_types : public llm_graph_input_i {
  public:
    lc_input_types(ggml_context * context, int64_t n_tokens, llama_token separator_) :
        types(ggml_new_tensor_1d(context, GGML_TYPE_I32, n_tokens)), separator(separator_) {
        ggml_set_input(types);
    }

    void set_input(const llama_ubatch * ubatch) override {
        std::vector<int32_t>   second(ubatch->n_tokens);
        std::set<llama_seq_id> separated;
        for (uint32_t i = 0; i < ubatch->n_tokens; i++) {
            const llama_seq_id sequence = ubatch->seq_id[i][0];
            second[i]                   = (int32_t) separated.count(sequence);
            if (ubatch->token[i] == separator) {
                separated.insert(sequence);
            }
        }
        ggml_backend_tensor_set(types, second.data(), 0, ggml_nbytes(types));
    }

    bool can_reuse(const llm_graph_params & params) override {
        return params.ubatch.token && types->ne[0] == params.ubatch.n_tokens;
    }

    ggml_tensor * types; // [n_tokens]

  private:
    llama_token separator;
};

// The vectors to add to each token of a micro-batch, [n_embd, n_tokens], or null where one is added to all.
inline ggml_tensor * lc_types_of_pairs(ggml_context * context, llm_graph_result * result, const llama_model & model,
                                       enum llama_pooling_type pooling, const llama_ubatch & ubatch) {
    const llama_vocab & vocab = model.vocab;
    if (pooling != LLAMA_POOLING_TYPE_RANK || model.type_embd->ne[1] < 2 || !ubatch.token ||
        vocab.get_type() != LLAMA_VOCAB_TYPE_WPM || vocab.token_sep() == LLAMA_TOKEN_NULL) {
        return nullptr;
    }
    auto          input = std::make_unique<lc_input_types>(context, ubatch.n_tokens, vocab.token_sep());
    ggml_tensor * types = input->types;
    result->add_input(std::move(input));
    return ggml_get_rows(context, model.type_embd, types);
}
