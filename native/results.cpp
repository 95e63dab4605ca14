// One result of the server core into events.
//
// The server's own JSON is not used: it repeats the model's name and a timestamp for every token, and
// parses the whole answer again for each. Here a piece of text stays a piece of text; who needs it parsed
// does so where it is consumed (parser.cpp).
#include "engine_impl.h"

#include "llama.h"

namespace {

const char * stop_name(stop_type type) {
    switch (type) {
        case STOP_TYPE_EOS:   return "eos";
        case STOP_TYPE_WORD:  return "word";
        case STOP_TYPE_LIMIT: return "limit";
        default:              return "none";
    }
}

const char * error_name(error_type type) {
    switch (type) {
        case ERROR_TYPE_INVALID_REQUEST:     return "invalid_request";
        case ERROR_TYPE_NOT_SUPPORTED:       return "not_supported";
        case ERROR_TYPE_EXCEED_CONTEXT_SIZE: return "context_overflow";
        default:                             return "native";
    }
}

lc_stored_event & store(lc_engine & e, int64_t request, int32_t kind, int32_t index, std::string data) {
    e.stored.emplace_back();
    auto & stored        = e.stored.back();
    stored.event.request = request;
    stored.event.kind    = kind;
    stored.event.index   = index;
    stored.data          = std::move(data);
    return stored;
}

json probs_to_json(const std::vector<completion_token_output> & probs, bool post_sampling) {
    return completion_token_output::probs_vector_to_json(probs, post_sampling);
}

void store_partial(lc_engine & e, lc_request & request, int index, server_task_result_cmpl_partial & result) {
    if (result.is_begin) {
        return;
    }
    std::string & held = request.generations[index].held;
    if (result.content.empty()) {
        // Withheld as the possible start of a stop string: it comes with a later piece, unless the
        // generation ends first (see store_final).
        for (const llama_token token : result.tokens) {
            if (!llama_vocab_is_eog(e.vocab, token)) {
                held += common_token_to_piece(e.vocab, token, false);
            }
        }
    } else {
        held.clear();
    }
    const bool has_probs = !result.prob_output.probs.empty();
    if (!has_probs && !result.is_progress && !request.want_tokens) {
        if (!result.content.empty()) {
            store(e, request.id, LC_EVENT_TEXT, index, std::move(result.content));
        }
        return;
    }
    json chunk = json::object();
    if (result.is_progress) {
        chunk["progress"] = result.progress.to_json();
    } else {
        chunk["text"]   = result.content;
        chunk["tokens"] = result.tokens;
        if (has_probs) {
            chunk["probs"] = probs_to_json({ result.prob_output }, result.post_sampling_probs);
        }
    }
    store(e, request.id, LC_EVENT_CHUNK, index, safe_json_to_str(chunk));
}

// Without the bytes of a character that the generation did not finish: they are not text.
std::string whole_characters(std::string text) {
    text.resize(validate_utf8(text));
    return text;
}

void store_final(lc_engine & e, lc_request & request, int index, server_task_result_cmpl_final & result) {
    const auto & constraint = request.generations[index].constraint;
    if (constraint && !constraint->error().empty()) {
        throw lc_exception("invalid_grammar", constraint->error());
    }
    json out             = json::object();
    out["stop_type"]     = std::string(stop_name(result.stop));
    out["stopping_word"] = result.stopping_word;
    out["truncated"]     = result.truncated;
    out["n_prompt"]      = result.n_prompt_tokens;
    out["n_cached"]      = result.n_prompt_tokens_cache;
    out["n_decoded"]     = result.n_decoded;
    out["timings"]       = result.stats.to_json();
    out["id_slot"]       = result.id_slot;
    out["id_task"]       = result.id;
    if (!request.stream) {
        out["text"]   = whole_characters(std::move(result.content));
        out["tokens"] = result.tokens;
        if (!result.probs_output.empty()) {
            out["probs"] = probs_to_json(result.probs_output, result.post_sampling_probs);
        }
    } else if (result.stop == STOP_TYPE_LIMIT) {
        out["text"] = whole_characters(std::move(request.generations[index].held));
    }
    store(e, request.id, LC_EVENT_FINAL, index, safe_json_to_str(out));
}

void store_embedding(lc_engine & e, lc_request & request, int index, server_task_result_embd & result) {
    std::string data;
    for (const auto & row : result.embedding) {
        data.append(reinterpret_cast<const char *>(row.data()), row.size() * sizeof(float));
    }
    auto & stored         = store(e, request.id, LC_EVENT_EMBEDDING, index, std::move(data));
    stored.event.n_rows   = (int32_t) result.embedding.size();
    stored.event.n_cols   = result.embedding.empty() ? 0 : (int32_t) result.embedding[0].size();
    stored.event.n_tokens = result.n_tokens;
}

} // namespace

void lc_store_error(lc_engine & e, int64_t request, const json & error) {
    auto & stored        = store(e, request, LC_EVENT_ERROR, 0, error.dump_safe());
    stored.event.is_last = 1;
    std::lock_guard<std::mutex> lock(e.mutex);
    e.drop(request);
}

void lc_store_result(lc_engine & e, server_task_result & result) {
    std::shared_ptr<lc_request> request;
    int                         index = 0;
    {
        std::lock_guard<std::mutex> lock(e.mutex);
        const auto                  task = e.tasks.find(result.id);
        if (task == e.tasks.end()) {
            return; // cancelled meanwhile
        }
        request = e.requests.at(task->second.first);
        index   = task->second.second;
    }
    try {
        if (auto * error = dynamic_cast<server_task_result_error *>(&result)) {
            json out = { { "type", error_name(error->err_type) }, { "message", error->err_msg }, { "index", index } };
            if (error->err_type == ERROR_TYPE_EXCEED_CONTEXT_SIZE) {
                out["n_prompt_tokens"] = error->n_prompt_tokens;
                out["n_ctx"]           = error->n_ctx;
            }
            lc_store_error(e, request->id, out);
            return;
        }
        if (auto * partial = dynamic_cast<server_task_result_cmpl_partial *>(&result)) {
            store_partial(e, *request, index, *partial);
            return;
        }
        if (auto * final = dynamic_cast<server_task_result_cmpl_final *>(&result)) {
            store_final(e, *request, index, *final);
        } else if (auto * embedding = dynamic_cast<server_task_result_embd *>(&result)) {
            store_embedding(e, *request, index, *embedding);
        } else if (auto * score = dynamic_cast<server_task_result_rerank *>(&result)) {
            auto & stored         = store(e, request->id, LC_EVENT_SCORE, index,
                                          std::string(reinterpret_cast<const char *>(&score->score), sizeof(float)));
            stored.event.n_tokens = score->n_tokens;
        } else {
            throw std::runtime_error("a result of an unknown kind");
        }
    } catch (const lc_exception & error) {
        lc_store_error(e, request->id, { { "type", error.type }, { "message", error.what() } });
        return;
    } catch (const std::exception & error) {
        lc_store_error(e, request->id, { { "type", "native" }, { "message", error.what() } });
        return;
    }
    std::lock_guard<std::mutex> lock(e.mutex);
    if (e.tasks.erase(result.id) == 0) {
        return; // cancelled meanwhile
    }
    e.ids.erase(result.id);
    e.ids_changed = true;
    e.queues->queue_results.remove_waiting_task_id(result.id);
    if (--request->n_open == 0) {
        e.stored.back().event.is_last = 1;
        e.requests.erase(request->id);
    }
}
