// llama.cpp's Jinja engine marks which parts of its output came from input, but loses the marks where a
// template serialises a value (tojson). So the caller's strings carry a second mark as well: where one
// spells out a special token, a character that no text uses is put into it, and taken out after rendering.
#include "render.h"

#include "common.h"
#include "jinja/caps.h"
#include "jinja/runtime.h"
#include "jinja/value.h"
#include "llama.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace {

const std::string guard = "\xEF\xB7\x90"; // U+FDD0, a noncharacter

// What may be done to the caller's strings before rendering.
enum class marking {
    none,  // as they are
    parts, // marked for the engine only
    full,  // and with a guard inside special tokens
};

std::string with_guards(const std::string & text, const lc_special_tokens & special, bool & changed) {
    std::string out;
    for (size_t i = 0; i < text.size();) {
        const auto * found = special.at(text, i);
        if (found == nullptr || found->text.size() < 2) {
            out += text[i++];
            continue;
        }
        size_t cut = 1;
        while (cut < found->text.size() && (found->text[cut] & 0xC0) == 0x80) {
            cut++; // not inside a UTF-8 sequence
        }
        out.append(found->text, 0, cut).append(guard).append(found->text, cut);
        i += found->text.size();
        changed = true;
    }
    return out;
}

jinja::value to_value(const json & j, marking how, const lc_special_tokens & special, bool & guarded) {
    if (j.is_string()) {
        std::string text = j.get<std::string>();
        if (how == marking::full) {
            text = with_guards(text, special, guarded);
        }
        auto out = jinja::mk_val<jinja::value_string>(text);
        if (how != marking::none) {
            out->mark_input();
        }
        return out;
    }
    if (j.is_array()) {
        auto out = jinja::mk_val<jinja::value_array>();
        for (const auto & item : j) {
            out->push_back(to_value(item, how, special, guarded));
        }
        return out;
    }
    if (j.is_object()) {
        auto out = jinja::mk_val<jinja::value_object>();
        for (const auto & [key, value] : j.items()) {
            std::string name = key;
            if (how == marking::full) {
                name = with_guards(name, special, guarded);
            }
            // "type" names a kind of content or schema that templates compare with.
            out->insert(name, to_value(value, key == "type" ? marking::none : how, special, guarded));
        }
        return out;
    }
    if (j.is_boolean()) {
        return jinja::mk_val<jinja::value_bool>(j.get<bool>());
    }
    if (j.is_number_integer()) {
        return jinja::mk_val<jinja::value_int>(j.get<int64_t>());
    }
    if (j.is_number()) {
        return jinja::mk_val<jinja::value_float>(j.get<double>());
    }
    return jinja::mk_val<jinja::value_none>();
}

jinja::value message_value(const json & message, marking how, const lc_special_tokens & special, bool & guarded) {
    auto              out  = jinja::mk_val<jinja::value_object>();
    const std::string role = message.at("role").get<std::string>();
    for (const auto & [key, value] : message.items()) {
        marking part = how;
        if (key == "role") {
            part = marking::none;
        } else if (part == marking::full && role == "assistant" && key != "tool_calls") {
            // Templates look for their own reasoning tags in what the model said before.
            part = marking::parts;
        }
        out->insert(key, to_value(value, part, special, guarded));
    }
    return out;
}

json concatenated(const json & parts) {
    std::string text;
    for (const auto & part : parts) {
        if (!text.empty()) {
            text += '\n';
        }
        text += part.value("text", "");
    }
    return json(text);
}

// Messages in the form that this template reads.
json adapted(const json & messages, const jinja::caps & caps) {
    json out = json::array();
    for (const auto & original : messages) {
        json message = original;
        if (caps.supports_tool_calls && message.contains("tool_calls") &&
            (!message.contains("content") || message.at("content").is_null())) {
            message["content"] = "";
        }
        if (message.contains("content")) {
            const json content = message.at("content");
            if (content.is_array() && !caps.supports_typed_content) {
                message["content"] = concatenated(content);
            } else if (content.is_string() && !caps.supports_string_content && caps.supports_typed_content) {
                json part       = json::object();
                part["type"]    = "text";
                part["text"]    = content;
                json parts      = json::array();
                parts.push_back(part);
                message["content"] = parts;
            }
        }
        if (caps.supports_object_arguments && message.contains("tool_calls")) {
            for (auto & call : message["tool_calls"]) {
                json & arguments = call["function"]["arguments"];
                if (arguments.is_string()) {
                    arguments = json::parse(arguments.get<std::string>());
                }
            }
        }
        out.push_back(message);
    }
    if (!caps.supports_system_role && out.size() > 1 && out[0].at("role") == "system" &&
        out[0].at("content").is_string() && out[1].at("content").is_string()) {
        out[1]["content"] = out[0].at("content").get<std::string>() + "\n" + out[1].at("content").get<std::string>();
        out.erase((size_t) 0);
    }
    return out;
}

lc_rendered render(const common_chat_template & tmpl, const json & request, const lc_special_tokens & special,
                   marking how, bool & guarded) {
    jinja::context ctx(tmpl.source());
    const json     no_kwargs = json::object();
    const json     kwargs    = request.value("kwargs", no_kwargs);
    for (const auto & [key, value] : kwargs.items()) {
        ctx.set_val(key, to_value(value, marking::none, special, guarded));
    }
    if (kwargs.contains("preserve_reasoning") && kwargs.at("preserve_reasoning").is_boolean()) {
        jinja::caps_apply_preserve_reasoning(ctx, kwargs.at("preserve_reasoning").get<bool>());
    }
    if (kwargs.contains("reasoning_effort") && kwargs.at("reasoning_effort").is_string()) {
        jinja::caps_apply_reasoning_effort(ctx, kwargs.at("reasoning_effort").get<std::string>());
    }
    const auto text = [&](const std::string & value) { return jinja::mk_val<jinja::value_string>(value); };
    ctx.set_val("bos_token", text(tmpl.bos_token()));
    ctx.set_val("eos_token", text(tmpl.eos_token()));
    ctx.set_val("enable_thinking", jinja::mk_val<jinja::value_bool>(request.value("enable_thinking", true)));
    if (request.value("add_generation_prompt", true)) {
        ctx.set_val("add_generation_prompt", jinja::mk_val<jinja::value_bool>(true));
    }
    auto messages = jinja::mk_val<jinja::value_array>();
    for (const auto & message : adapted(request.at("messages"), tmpl.original_caps())) {
        messages->push_back(message_value(message, how, special, guarded));
    }
    ctx.set_val("messages", messages);
    if (request.contains("tools") && !request.at("tools").empty()) {
        ctx.set_val("tools", to_value(request.at("tools"), how, special, guarded));
    }

    jinja::runtime runtime(ctx);
    const auto     parts = jinja::runtime::gather_string_parts(runtime.execute(tmpl.prog));
    lc_rendered    out;
    for (const auto & part : parts->val_str.parts) {
        out.text += part.val;
        out.from_caller.resize(out.text.size(), part.is_input);
    }
    return out;
}

// Takes the guards out; what stood around one came from the caller.
lc_rendered without_guards(const lc_rendered & in, const lc_special_tokens & special) {
    lc_rendered         out;
    std::vector<size_t> cuts;
    for (size_t i = 0; i < in.text.size();) {
        if (in.text.compare(i, guard.size(), guard) == 0) {
            cuts.push_back(out.text.size());
            i += guard.size();
            continue;
        }
        out.text += in.text[i];
        out.from_caller.push_back(in.from_caller[i]);
        i++;
    }
    for (const size_t cut : cuts) {
        // The guard followed the first character of a special token's text.
        size_t start = cut == 0 ? 0 : cut - 1;
        while (start > 0 && (out.text[start] & 0xC0) == 0x80) {
            start--;
        }
        if (const auto * found = special.at(out.text, start)) {
            std::fill_n(out.from_caller.begin() + (std::ptrdiff_t) start, found->text.size(), true);
        }
    }
    return out;
}

void append(const llama_vocab * vocab, const std::string & raw, std::vector<llama_token> & out) {
    if (!raw.empty()) {
        const auto tokens = common_tokenize(vocab, raw, /* add_special */ false, /* parse_special */ false);
        out.insert(out.end(), tokens.begin(), tokens.end());
    }
}

} // namespace

lc_special_tokens::lc_special_tokens(const llama_vocab * vocab) {
    const int32_t n = llama_vocab_n_tokens(vocab);
    for (llama_token id = 0; id < n; id++) {
        const int attr = llama_vocab_get_attr(vocab, id);
        if ((attr & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN)) == 0) {
            continue;
        }
        const std::string text = llama_vocab_get_text(vocab, id);
        if (!text.empty()) {
            by_first_byte[(unsigned char) text[0]].push_back(
                { id, text, (attr & LLAMA_TOKEN_ATTR_LSTRIP) != 0, (attr & LLAMA_TOKEN_ATTR_RSTRIP) != 0 });
        }
    }
    for (auto & entries : by_first_byte) {
        std::stable_sort(entries.begin(), entries.end(),
                         [](const entry & a, const entry & b) { return a.text.size() > b.text.size(); });
    }
}

const lc_special_tokens::entry * lc_special_tokens::at(const std::string & text, size_t position) const {
    if (position >= text.size()) {
        return nullptr;
    }
    for (const auto & entry : by_first_byte[(unsigned char) text[position]]) {
        if (text.compare(position, entry.text.size(), entry.text) == 0) {
            return &entry;
        }
    }
    return nullptr;
}

lc_rendered lc_render(const common_chat_template & tmpl, const json & request, const lc_special_tokens & special, bool safe) {
    bool guarded = false;
    if (!safe) {
        lc_rendered out = render(tmpl, request, special, marking::none, guarded);
        return out;
    }
    const lc_rendered marked = render(tmpl, request, special, marking::full, guarded);
    if (!guarded) {
        return marked;
    }
    // A template may have looked for a special token in the caller's text: then its own marks must do.
    lc_rendered       out   = without_guards(marked, special);
    const lc_rendered plain = render(tmpl, request, special, marking::parts, guarded);
    return plain.text == out.text ? out : plain;
}

std::vector<llama_token> lc_tokenize(const llama_vocab * vocab, const lc_special_tokens & special, const lc_rendered & in) {
    std::vector<llama_token> out;
    std::string              raw;
    bool                     skip_space = false;
    for (size_t i = 0; i < in.text.size();) {
        const auto * found = special.at(in.text, i);
        if (found != nullptr) {
            const auto first = in.from_caller.begin() + (std::ptrdiff_t) i;
            if (std::find(first, first + (std::ptrdiff_t) found->text.size(), true) != first + (std::ptrdiff_t) found->text.size()) {
                found = nullptr; // the caller wrote it, or a part of it
            }
        }
        if (found == nullptr) {
            if (!skip_space || !std::isspace((unsigned char) in.text[i])) {
                raw += in.text[i];
                skip_space = false;
            }
            i++;
            continue;
        }
        if (found->strip_left) {
            while (!raw.empty() && std::isspace((unsigned char) raw.back())) {
                raw.pop_back();
            }
        }
        append(vocab, raw, out);
        raw.clear();
        out.push_back(found->token);
        skip_space = found->strip_right;
        i += found->text.size();
    }
    append(vocab, raw, out);
    const llama_token bos = llama_vocab_bos(vocab);
    if (llama_vocab_get_add_bos(vocab) && bos != LLAMA_TOKEN_NULL && (out.empty() || out[0] != bos)) {
        out.insert(out.begin(), bos);
    }
    return out;
}
