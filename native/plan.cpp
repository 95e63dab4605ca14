// From a plan and sampling fields to tasks of the server core.
#include "engine_impl.h"
#include "grammar/grammar.h"
#include "llama_cpp/prefix/options.h"

#include "chat.h"
#include "server-schema.h"

#include <algorithm>

namespace {

// The request's fields win, but stop strings add up: the template's own keep the model in its turn.
json merge(const json & plan, const json & request) {
    json out = plan;
    for (const auto & [key, value] : request.items()) {
        if (key == "stop" && plan.contains("stop")) {
            json stops = plan.at("stop");
            stops.insert(value);
            out["stop"] = stops;
        } else {
            out[key] = value;
        }
    }
    return out;
}

task_params task_parameters(lc_engine & e, const json & data) {
    task_params params       = server_schema::eval_llama_cmpl_schema(e.vocab, e.params, e.meta->logit_bias_eog, data);
    params.res_type          = TASK_RESPONSE_TYPE_NONE;
    params.oaicompat_model   = e.meta->model_name;
    params.oaicompat_cmpl_id = data.value("request_id", "");
    if (data.value("deterministic", false)) {
        params.n_cache_reuse = lc_deterministic;
    }
    return params;
}

server_task new_task(lc_engine & e, server_task_type type) {
    server_task task(type);
    task.id = e.queues->get_new_id();
    return task;
}

// n generations of each prompt: groups of as many as there are slots share one evaluation of it.
std::vector<server_task> completion_tasks(lc_engine & e, lc_plan & plan, const json & request) {
    json      data           = merge(plan.params, request);
    const int n              = data.value("n", 1);
    data["n"]                = 1;
    const task_params params = task_parameters(e, data);

    auto delimiters = common_chat_msg_delimiters_parse(data.value("message_delimiters", json::array()));
    delimiters.tokenize(e.vocab);

    const bool               has_media = !plan.media.empty();
    const size_t             n_prompts = has_media ? 1 : plan.prompts.size();
    std::vector<server_task> tasks;
    for (size_t i = 0; i < n_prompts; i++) {
        for (int done = 0; done < n;) {
            server_task task = new_task(e, SERVER_TASK_TYPE_COMPLETION);
            task.params      = params;
            if (params.sampling.seed != LLAMA_DEFAULT_SEED) {
                task.params.sampling.seed += (uint32_t) done;
            }
            int group = 1;
            if (has_media) {
                // Only the server core can reach the projector, so it tokenises this prompt itself.
                task.cli        = true;
                task.cli_prompt = plan.prompt;
                task.cli_files  = plan.media;
            } else {
                task.tokens               = server_tokens(plan.prompts[i], e.meta->has_mtmd);
                task.params.message_spans = task.tokens.find_message_spans(delimiters);
                group                     = std::min(n - done, (int) e.params.n_parallel);
            }
            for (int child = 1; child < group; child++) {
                task.add_child(task.id, e.queues->get_new_id());
            }
            done += group;
            tasks.push_back(std::move(task));
        }
    }
    return tasks;
}

std::vector<server_task> input_tasks(lc_engine & e, lc_plan & plan, server_task_type type, const json & request) {
    std::vector<server_task> tasks;
    for (const auto & tokens : plan.prompts) {
        server_task task           = new_task(e, type);
        task.tokens                = server_tokens(tokens, e.meta->has_mtmd);
        task.params.embd_normalize = request.value("embd_normalize", 2);
        tasks.push_back(std::move(task));
    }
    return tasks;
}

// The tokens that an answer may have: what was asked for, and what the context leaves.
int32_t budget_of(const lc_engine & e, const server_task & task) {
    const int32_t asked = task.params.n_predict != -1 ? task.params.n_predict : e.params.n_predict;
    if (task.tokens.empty() || e.params.ctx_shift) { // the server core counts a prompt with images itself
        return asked;
    }
    const int32_t left = e.meta->slot_n_ctx - (int32_t) task.tokens.size();
    return asked < 0 ? left : std::min(asked, left);
}

// A text with its placeholders replaced by what a caller gave.
lc_rendered fill_in(const std::string & form, const std::vector<std::pair<std::string, std::string>> & values) {
    lc_rendered out;
    for (size_t i = 0; i < form.size();) {
        const auto found = std::find_if(values.begin(), values.end(),
                                        [&](const auto & v) { return form.compare(i, v.first.size(), v.first) == 0; });
        out.text += found == values.end() ? std::string(1, form[i]) : found->second;
        out.from_caller.resize(out.text.size(), found != values.end());
        i += found == values.end() ? 1 : found->first.size();
    }
    return out;
}

void enter(lc_engine & e, lc_request & request, server_task & task, int32_t budget) {
    const int index = (int) request.generations.size();
    task.index      = (size_t) index;
    request.task_ids.push_back(task.id);
    request.generations.emplace_back();
    request.generations.back().constraint = lc_constrain(e, task.params.sampling, budget);
    e.tasks[task.id]                      = { request.id, index };
    e.ids.insert(task.id);
    e.queues->queue_results.add_waiting_task_id(task.id);
}

} // namespace

std::shared_ptr<lc_constraint> lc_constrain(const lc_engine & e, common_params_sampling & sampling, int32_t budget) {
    auto & grammar = sampling.grammar;
    if (grammar.empty()) {
        return nullptr;
    }
    lc_grammar::of(e.vocab, grammar.grammar, "root"); // here its faults are errors of the caller
    auto constraint = std::make_shared<lc_constraint>();
    // Text that is whole wherever it ends is cut off at its limit, and says so, instead of being ended there.
    constraint->budget = grammar.grammar.rfind(LC_OPEN_ENDED, 0) == 0 ? -1 : budget;
    grammar.grammar    = lc_constraint::mark(grammar.grammar, constraint);
    return constraint;
}

extern "C" {

lc_plan * lc_plan_tokens(lc_engine_ref * ref, const int32_t * tokens, const int32_t * lengths, int32_t n_prompts) {
    return lc_guard<lc_plan *>(nullptr, [&] {
        const auto    engine  = lc_hold(ref);
        const int32_t n_vocab = llama_vocab_n_tokens(engine->vocab);
        auto          plan    = std::make_unique<lc_plan>();
        for (int32_t i = 0; i < n_prompts; i++) {
            plan->prompts.emplace_back(tokens, tokens + lengths[i]);
            for (const llama_token token : plan->prompts.back()) {
                if (token < 0 || token >= n_vocab) {
                    throw std::invalid_argument("token " + std::to_string(token) + " is not in the vocabulary of " +
                                                std::to_string(n_vocab));
                }
            }
            tokens += lengths[i];
        }
        return plan.release();
    });
}

lc_plan * lc_plan_rerank(lc_engine_ref * ref, const char * body, size_t size) {
    return lc_guard<lc_plan *>(nullptr, [&] {
        const auto          engine  = lc_hold(ref);
        const json          request = json::parse(std::string(body, size));
        const std::string   query   = request.at("query").get<std::string>();
        const llama_model * model   = llama_get_model(engine->context.get_llama_context());
        auto                plan    = std::make_unique<lc_plan>();
        const char *        form    = llama_model_chat_template(model, "rerank");
        for (const auto & document : request.at("documents")) {
            if (form != nullptr) {
                const auto pair = fill_in(form, { { "{query}", query }, { "{document}", document.get<std::string>() } });
                plan->prompts.push_back(lc_tokenize(engine->vocab, *engine->special, engine->token_cache, pair, false));
                continue;
            }
            const auto tokens = format_prompt_rerank(model, engine->vocab, nullptr, query, document.get<std::string>(),
                                                     mtmd_helper_init_opt_default());
            plan->prompts.push_back(tokens.get_tokens());
        }
        return plan.release();
    });
}

void lc_plan_free(lc_plan * plan) { delete plan; }

int32_t lc_plan_n_prompts(lc_plan * plan) { return (int32_t) plan->prompts.size(); }

const int32_t * lc_plan_prompt(lc_plan * plan, int32_t index, size_t * n_tokens) {
    if (index < 0 || (size_t) index >= plan->prompts.size()) {
        return nullptr;
    }
    *n_tokens = plan->prompts[index].size();
    return plan->prompts[index].data();
}

int32_t lc_submit(lc_engine_ref * ref, lc_plan * plan, int64_t number, int32_t kind, const char * params, size_t size) {
    return lc_guard<int32_t>(-1, [&] {
        const auto engine = lc_hold(ref);
        if (engine->loop_ended) {
            throw lc_exception("native", "the engine's loop has ended: " + engine->loop_error);
        }
        const json data = lc_adapter_places(*engine, json::parse(std::string(params, size)));
        auto       tasks =
            kind == LC_TASK_COMPLETION ? completion_tasks(*engine, *plan, data) : input_tasks(*engine, *plan, kind == LC_TASK_RERANK ? SERVER_TASK_TYPE_RERANK : SERVER_TASK_TYPE_EMBEDDING, data);
        auto request         = std::make_shared<lc_request>();
        request->stream      = data.value("stream", false);
        request->want_tokens = data.value("return_tokens", false);

        std::lock_guard<std::mutex> lock(engine->mutex);
        request->id = number;
        for (auto & task : tasks) {
            const int32_t budget = budget_of(*engine, task);
            enter(*engine, *request, task, budget);
            for (auto & child : task.child_tasks) {
                enter(*engine, *request, child, budget);
            }
        }
        request->n_open               = request->task_ids.size();
        engine->requests[request->id] = request;
        engine->ids_changed           = true;
        engine->queues->queue_tasks.post(std::move(tasks));
        engine->wake();
        return 0;
    });
}
}
