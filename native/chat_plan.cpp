// From a chat request to a plan: the prompt's tokens, and what the template says about tools and reasoning.
#include "engine_impl.h"

#include "chat.h"

#include <stdexcept>

namespace {

// Fields of llama.cpp's own plan that do not depend on the conversation.
const char * const format_fields[] = {
    "chat_format",
    "chat_parser",
    "generation_prompt",
    "grammar",
    "grammar_lazy",
    "grammar_triggers",
    "grammar_type",
    "message_delimiters",
    "parse_tool_calls",
    "preserved_tokens",
    "reasoning_budget_end_tags",
    "reasoning_budget_message",
    "reasoning_budget_start_tag",
    "reasoning_budget_tokens",
    "reasoning_control",
    "reasoning_format",
    "stop",
};

json server_plan(lc_engine & e, json body, std::vector<raw_buffer> & media, std::string & prompt) {
    json params = oaicompat_chat_params_parse(body, e.meta->chat_params, media);
    prompt      = params.at("prompt").get<std::string>();
    json out    = json::object();
    for (const char * name : format_fields) {
        if (params.contains(name)) {
            out[name] = params.at(name);
        }
    }
    return out;
}

json stub_conversation() {
    json message       = json::object();
    message["role"]    = "user";
    message["content"] = "Hello";
    json messages      = json::array();
    messages.push_back(message);
    return messages;
}

// What llama.cpp finds out about a template with these tools, from memory when it was asked before.
json format_for(lc_engine & e, const json & format) {
    const std::string key = format.dump();
    {
        std::lock_guard<std::mutex> lock(e.formats_mutex);
        if (const json * known = e.formats.find(key)) {
            return *known;
        }
    }
    json body        = format;
    body["messages"] = stub_conversation();
    std::vector<raw_buffer> no_media;
    std::string             prompt;
    json                    fields = server_plan(e, body, no_media, prompt);
    std::lock_guard<std::mutex> lock(e.formats_mutex);
    e.formats.keep(key, fields);
    return fields;
}

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string summary(const lc_plan & plan) {
    json out           = plan.params;
    out["prompt"]      = plan.prompt;
    out["n_media"]     = plan.media.size();
    out["chat_parser"] = plan.params.contains("chat_parser");
    return out.dump_safe();
}

} // namespace

const json * lc_formats::find(const std::string & key) {
    for (auto it = entries.begin(); it != entries.end(); ++it) {
        if (it->first == key) {
            entries.splice(entries.begin(), entries, it);
            return &entries.front().second;
        }
    }
    return nullptr;
}

void lc_formats::keep(const std::string & key, json fields) {
    constexpr size_t max_entries = 64;
    entries.emplace_front(key, std::move(fields));
    if (entries.size() > max_entries) {
        entries.pop_back();
    }
}

extern "C" {

lc_plan * lc_plan_chat(lc_engine * engine, const char * body, size_t size) {
    return lc_guard<lc_plan *>(nullptr, [&] {
        const json request = json::parse(std::string(body, size));
        auto       plan    = std::make_unique<lc_plan>();
        if (request.contains("media")) {
            // Only the server core can take media apart, so it renders and tokenises such a conversation.
            plan->params = server_plan(*engine, request.at("media"), plan->media, plan->prompt);
            return plan.release();
        }
        const bool  has_tools = request.contains("tools") && !request.at("tools").empty();
        const auto & tmpl     = has_tools && engine->tool_template ? *engine->tool_template : *engine->chat_template;
        lc_rendered rendered;
        try {
            rendered = lc_render(tmpl, request, *engine->special, request.value("safe", true));
        } catch (const std::exception & e) {
            throw lc_exception("template_refused", e.what());
        }
        const std::string append = request.value("append", "");
        rendered.text += append; // written by core: the end of a reasoning section
        rendered.from_caller.resize(rendered.text.size(), false);
        const std::string prefill = request.value("prefill", "");
        rendered.text += prefill; // the beginning of the answer, given by the caller
        rendered.from_caller.resize(rendered.text.size(), true);

        if (request.contains("format") && !request.at("format").is_null()) {
            plan->params = format_for(*engine, request.at("format"));
            const std::string start = plan->params.value("generation_prompt", "");
            if (append.empty() && prefill.empty() && !ends_with(rendered.text, start)) {
                // This template begins the answer differently in this conversation.
                json full        = request.at("format");
                full["messages"] = request.at("messages");
                std::string prompt;
                plan->params = server_plan(*engine, full, plan->media, prompt);
            }
        }
        plan->prompts.push_back(lc_tokenize(engine->vocab, *engine->special, rendered));
        plan->prompt = std::move(rendered.text);
        return plan.release();
    });
}

const char * lc_plan_info(lc_plan * plan) {
    return lc_guard<const char *>("{}", [&] {
        if (plan->info.empty()) {
            plan->info = summary(*plan);
        }
        return plan->info.c_str();
    });
}

}
