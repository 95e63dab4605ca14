// From a chat request to a plan: the prompt's tokens, and what the template says about tools and reasoning.
#include "engine_impl.h"
#include "media.h"
#include "template_bounds.h"

#include "chat.h"

#include <algorithm>
#include <cctype>
#include <optional>
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

// What lc_plan_chat() is asked for, in the order in which it is done.
struct chat_request {
    lc_conversation conversation; // messages, kwargs, add_generation_prompt, enable_thinking
    bool            safe     = true; // the caller's text cannot become control tokens
    int             complete = 0;    // refuse a template that leaves messages out (2), or leaves out more
                                                // than content beside calls (1)
    std::optional<std::string> cut_at;          // a text of the last message, in front of which the prompt ends
    json                       format;          // an OpenAI request without messages, for which llama.cpp plans
                                                // constraint and parser; null: none
    std::string                format_key;      // names the format
    bool                       native_calls = false; // the format's calls are the template's own
    std::optional<std::string> append;               // text after the prompt, from core
    std::optional<std::string> prefill;              // text after that, from the caller
    json                       media;                // in place of all of these: a whole OpenAI request with images or audio

    explicit chat_request(const json & body) {
        safe = body.value("safe", safe);
        if (body.contains("media")) {
            media = body.at("media");
            return;
        }
        conversation.messages              = body.at("messages");
        conversation.kwargs                = body.value("kwargs", conversation.kwargs);
        conversation.add_generation_prompt = body.value("add_generation_prompt", true);
        conversation.enable_thinking       = body.value("enable_thinking", true);

        complete     = body.value("complete", complete);
        cut_at       = text(body, "cut_at");
        native_calls = body.value("native_calls", native_calls);
        append       = text(body, "append");
        prefill      = text(body, "prefill");
        if (body.contains("format") && !body.at("format").is_null()) {
            format     = body.at("format");
            format_key = text(body, "format_key").value_or(format.dump());
        }
    }

  private:
    static std::optional<std::string> text(const json & body, const char * name) {
        return body.contains(name) ? std::optional<std::string>(body.at(name).get<std::string>()) : std::nullopt;
    }
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

json example_conversation() {
    json message       = json::object();
    message["role"]    = "user";
    message["content"] = "Hello";
    json messages      = json::array();
    messages.push_back(message);
    return messages;
}

// The fields for a key, from memory when they were planned before.
template <typename F> json remembered(lc_engine & e, const std::string & key, F && plan) {
    {
        std::lock_guard<std::mutex> lock(e.formats_mutex);
        if (const json * known = e.formats.find(key)) {
            return *known;
        }
    }
    json                        fields = plan();
    std::lock_guard<std::mutex> lock(e.formats_mutex);
    e.formats.keep(key, fields);
    return fields;
}

// The request that llama.cpp plans the format for.
json format_of(const chat_request & request, lc_tools * tools, const json & messages) {
    json body        = request.format;
    body["messages"] = messages;
    if (tools != nullptr && request.native_calls) {
        body["tools"] = lc_tools_json(*tools);
    }
    return body;
}

// What llama.cpp finds out about the template, for a conversation that begins the answer as most do.
json usual_format(lc_engine & e, const lc_template & tmpl, lc_tools * tools, const chat_request & request) {
    lc_conversation example = request.conversation;
    example.messages        = example_conversation();
    lc_render_text(tmpl, tools, example, *e.special); // where macros never end, this is an error, and llama.cpp's own would crash
    json                    body = format_of(request, tools, example.messages);
    std::vector<raw_buffer> no_media;
    std::string             prompt;
    return server_plan(e, body, no_media, prompt);
}

// What the template adds to this conversation for the answer to begin.
std::string generation_prompt(lc_engine & e, const lc_template & tmpl, lc_tools * tools,
                              const lc_conversation & conversation, const std::string & with) {
    lc_conversation bare       = conversation;
    bare.add_generation_prompt = false;
    const std::string without  = lc_render_text(tmpl, tools, bare, *e.special);
    const size_t      size     = std::min(with.size(), without.size());
    size_t            same     = 0;
    while (same < size && with[same] == without[same]) {
        same++;
    }
    return with.substr(same);
}

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The plan's format; a conversation can begin the answer in another way than most do, after a tool's result say.
void set_format(lc_engine & e, lc_plan & plan, const lc_template & tmpl, lc_tools * tools, const chat_request & request,
                const std::string & text) {
    plan.format = request.format_key;
    plan.params = remembered(e, plan.format, [&] { return usual_format(e, tmpl, tools, request); });
    if (request.append || request.prefill || !request.conversation.add_generation_prompt ||
        ends_with(text, plan.params.value("generation_prompt", ""))) {
        return;
    }
    const std::string start = generation_prompt(e, tmpl, tools, request.conversation, text);
    const std::string key   = plan.format + '\n' + start;
    try {
        plan.params = remembered(e, key, [&] {
            json        body = format_of(request, tools, request.conversation.messages);
            std::string prompt;
            return server_plan(e, body, plan.media, prompt);
        });
        plan.format = key;
    } catch (const std::exception &) {
        // llama.cpp refuses to plan for this conversation, so the usual format has to do.
    }
}

// The longest stretch of plain words in a text: templates may escape, trim or indent what is around it.
std::string words_of(const std::string & text) {
    const auto plain = [](unsigned char c) { return std::isalnum(c) || c == ' ' || c >= 0x80; };
    size_t     best = 0, best_size = 0;
    for (size_t i = 0; i < text.size();) {
        size_t end = i;
        while (end < text.size() && plain((unsigned char) text[end])) {
            end++;
        }
        if (end - i > best_size) {
            best      = i;
            best_size = end - i;
        }
        i = end + 1;
    }
    std::string out = text.substr(best, best_size);
    out.erase(0, out.find_first_not_of(' '));
    out.erase(out.find_last_not_of(' ') + 1);
    return out;
}

// Throws where the template has left a message out. level 1: content beside calls may be missing; 2: nothing.
void check_complete(const json & messages, const lc_rendered & rendered, int level) {
    int index = -1;
    for (const auto & message : messages) {
        index++;
        if (!message.contains("content") || (level < 2 && message.contains("tool_calls"))) {
            continue;
        }
        const json &             content = message.at("content");
        std::vector<std::string> texts;
        if (content.is_string()) {
            texts.push_back(content.get<std::string>());
        } else if (content.is_array()) {
            for (const auto & part : content) {
                texts.push_back(part.value("text", ""));
            }
        }
        for (const auto & text : texts) {
            const size_t      reasoned = text.rfind("</think>"); // in what the model said, templates cut that off
            const std::string words    = words_of(reasoned == std::string::npos ? text : text.substr(reasoned + 8));
            if (words.size() > 2 && rendered.text.find(words) == std::string::npos) {
                throw std::invalid_argument("it leaves out the text of messages[" + std::to_string(index) + "]");
            }
        }
    }
}

// Ends a rendered conversation in front of its last message's text, which a marker replaces.
void cut_at(lc_rendered & rendered, const std::string & marker) {
    const size_t at = rendered.text.rfind(marker);
    if (at == std::string::npos) {
        throw std::invalid_argument("the template leaves out the last message");
    }
    rendered.text.resize(at);
    rendered.from_caller.resize(at);
}

void append(lc_rendered & rendered, const std::string & text, bool from_caller) {
    rendered.text += text;
    rendered.from_caller.resize(rendered.text.size(), from_caller);
}

// Only the server core can take media apart, so it renders and tokenizes such a conversation.
std::unique_ptr<lc_plan> plan_media(lc_engine & e, const chat_request & request) {
    auto plan = std::make_unique<lc_plan>();
    json body = request.media;
    // Its tokenizer takes every control token for one, and every marker for a picture.
    lc_taken_apart take_apart{ request.safe ? e.special.get() : nullptr };
    take_apart.marker = get_media_marker();
    for (const char * name : { "messages", "tools", "chat_template_kwargs" }) {
        if (body.contains(name)) {
            take_apart(body[name]);
        }
    }
    plan->params = server_plan(e, body, plan->media, plan->prompt);
    lc_check_media(request.media.at("messages"), plan->media);
    return plan;
}

std::unique_ptr<lc_plan> plan_text(lc_engine & e, lc_tools * tools, const chat_request & request) {
    auto         plan = std::make_unique<lc_plan>();
    const auto & tmpl = tools != nullptr && e.tool_template ? *e.tool_template : *e.chat_template;
    lc_rendered  rendered;
    try {
        rendered = lc_render(tmpl, tools, request.conversation, *e.special, request.safe);
        if (request.complete > 0) {
            check_complete(request.conversation.messages, rendered, request.complete);
        }
        if (request.cut_at) {
            cut_at(rendered, *request.cut_at);
        }
    } catch (const std::exception & e) {
        throw lc_exception("template_refused", e.what());
    }
    if (!request.format.is_null()) {
        set_format(e, *plan, tmpl, tools, request, rendered.text);
    }
    append(rendered, request.append.value_or(""), /* from_caller */ false);
    append(rendered, request.prefill.value_or(""), /* from_caller */ true);
    plan->prompts.push_back(lc_tokenize(e.vocab, *e.special, e.token_cache, rendered));
    plan->prompt = std::move(rendered.text);
    return plan;
}

// A template that passed a limit is not tried again in another form.
void throw_if_stopped(const lc_bounds::session & session) {
    if (const std::string failure = session.failure(); !failure.empty()) {
        throw lc_exception("template_stopped", failure);
    }
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

lc_plan * lc_plan_chat(lc_engine_ref * ref, lc_tools * tools, const char * body, size_t size) {
    return lc_guard<lc_plan *>(nullptr, [&] {
        const auto         engine = lc_hold(ref);
        const chat_request request(json::parse(std::string(body, size)));
        lc_bounds::session session;
        try {
            auto plan = request.media.is_null() ? plan_text(*engine, tools, request) : plan_media(*engine, request);
            throw_if_stopped(session);
            return plan.release();
        } catch (const std::exception &) {
            throw_if_stopped(session);
            throw;
        }
    });
}

const char * lc_plan_format(lc_plan * plan) { return plan->format.c_str(); }

const char * lc_plan_info(lc_plan * plan) {
    return lc_guard<const char *>("{}", [&] {
        if (plan->info.empty()) {
            plan->info = summary(*plan);
        }
        return plan->info.c_str();
    });
}
}
