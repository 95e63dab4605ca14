// llama.cpp's Jinja engine marks which parts of its output came from input, but loses the marks where a
// template cuts or serialises a value. So a conversation whose text spells out a control token is rendered
// twice, the second time with one byte of each such token replaced: where the two outputs differ, the
// caller's text stands.
#include "render.h"

#include "jinja/caps.h"
#include "jinja/runtime.h"
#include "jinja/value.h"

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

namespace {

constexpr int  n_choices = 3; // bytes of a token to try
constexpr char marker    = '\x7f'; // neither JSON nor HTML escapes it, and no letter case or trimming changes it

using entry     = lc_special_tokens::entry;
using token_set = std::map<llama_token, const entry *>;

// How to treat the caller's strings while rendering.
struct input_marks {
    const lc_special_tokens * special = nullptr; // null: leave them alone
    token_set                 found;             // control tokens that they spell out
    token_set                 replaced;          // which of them get a byte replaced
    token_set                 completed;         // a byte is replaced in a part of these at a string's end
    int                       choice = 0;        // which byte
};

bool may_be_replaced(char c) {
    return c > ' ' && c < marker && c != '"' && c != '\\';
}

// The position of the byte to replace, from the end of the token's text.
std::optional<size_t> byte_to_replace(const std::string & text, int choice) {
    for (size_t i = text.size(); i-- > 0;) {
        if (may_be_replaced(text[i]) && choice-- == 0) {
            return i;
        }
    }
    return std::nullopt;
}

// Where a string's beginning or end is a part of a token that text around it could complete: the part's range.
std::vector<std::pair<size_t, size_t>> parts_of(const std::string & text, const std::string & token) {
    std::vector<std::pair<size_t, size_t>> out;
    if (text.size() < 2) {
        return out;
    }
    if (text.size() < token.size() && token.find(text) != std::string::npos) {
        out.emplace_back(0, text.size());
        return out;
    }
    const size_t longest = std::min(text.size(), token.size() - 1);
    if (token.find(text.substr(0, 2)) != std::string::npos) {
        for (size_t n = longest; n >= 2; n--) {
            if (text.compare(0, n, token, token.size() - n, n) == 0) {
                out.emplace_back(0, n);
                break;
            }
        }
    }
    if (token.find(text.substr(text.size() - 2)) != std::string::npos) {
        for (size_t n = longest; n >= 2; n--) {
            if (text.compare(text.size() - n, n, token, 0, n) == 0) {
                out.emplace_back(text.size() - n, n);
                break;
            }
        }
    }
    return out;
}

bool has_part_of(const json & j, const std::string & token) {
    if (j.is_string()) {
        return !parts_of(j.get<std::string>(), token).empty();
    }
    if (j.is_array()) {
        return std::any_of(j.begin(), j.end(), [&](const json & item) { return has_part_of(item, token); });
    }
    if (j.is_object()) {
        for (const auto & [key, value] : j.items()) {
            if (key == "role") {
                continue;
            }
            if (!parts_of(key, token).empty() || has_part_of(value, token)) {
                return true;
            }
        }
    }
    return false;
}

void replace_parts(std::string & out, const std::string & text, const input_marks & marks) {
    for (const auto & [token, found] : marks.completed) {
        for (const auto & [first, size] : parts_of(text, found->text)) {
            if (const auto offset = byte_to_replace(text.substr(first, size), marks.choice)) {
                out[first + *offset] = marker;
            }
        }
    }
}

std::string marked(const std::string & text, input_marks & marks) {
    std::string out = text;
    if (!marks.completed.empty()) {
        replace_parts(out, text, marks);
        return out;
    }
    for (size_t i = 0; i < text.size();) {
        const entry * found = marks.special->at(text, i);
        if (found == nullptr) {
            i++;
            continue;
        }
        marks.found.emplace(found->token, found);
        if (marks.replaced.count(found->token) > 0) {
            if (const auto offset = byte_to_replace(found->text, marks.choice)) {
                out[i + *offset] = marker;
            }
        }
        i += found->text.size();
    }
    return out;
}

jinja::value string_value(const std::string & text, input_marks & marks) {
    if (marks.special == nullptr) {
        return jinja::mk_val<jinja::value_string>(text);
    }
    auto out = jinja::mk_val<jinja::value_string>(marked(text, marks));
    out->mark_input();
    return out;
}

jinja::value to_value(const json & j, input_marks & marks) {
    if (j.is_string()) {
        return string_value(j.get<std::string>(), marks);
    }
    if (j.is_array()) {
        auto out = jinja::mk_val<jinja::value_array>();
        for (const auto & item : j) {
            out->push_back(to_value(item, marks));
        }
        return out;
    }
    if (j.is_object()) {
        auto out = jinja::mk_val<jinja::value_object>();
        for (const auto & [key, value] : j.items()) {
            out->insert(marks.special == nullptr ? key : marked(key, marks), to_value(value, marks));
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

jinja::value message_value(const json & message, input_marks & marks) {
    auto        out = jinja::mk_val<jinja::value_object>();
    input_marks none;
    for (const auto & [key, value] : message.items()) {
        // Core has checked the role; many templates build their own tokens from it.
        out->insert(key, to_value(value, key == "role" ? none : marks));
    }
    return out;
}

std::string concatenated(const json & parts) {
    std::string text;
    for (const auto & part : parts) {
        if (!text.empty()) {
            text += '\n';
        }
        text += part.value("text", "");
    }
    return text;
}

void adapt_content(json & message, const jinja::caps & caps) {
    if (caps.supports_tool_calls && message.contains("tool_calls") &&
        (!message.contains("content") || message.at("content").is_null())) {
        message["content"] = "";
    }
    if (!message.contains("content")) {
        return;
    }
    const json content = message.at("content");
    if (content.is_array() && !caps.supports_typed_content) {
        message["content"] = concatenated(content);
    } else if (content.is_string() && !caps.supports_string_content && caps.supports_typed_content) {
        json part          = json::object();
        part["type"]       = "text";
        part["text"]       = content;
        json parts         = json::array();
        parts.push_back(part);
        message["content"] = parts;
    }
}

// Messages in the form that this template reads.
json adapted(const json & messages, const common_chat_template & tmpl) {
    const jinja::caps caps     = tmpl.original_caps();
    const bool        thinking = tmpl.source().find("message.thinking") != std::string::npos;
    json              out      = json::array();
    for (const auto & original : messages) {
        json message = original;
        adapt_content(message, caps);
        const bool calls = message.contains("tool_calls");
        if (thinking && message.contains("reasoning_content")) {
            message["thinking"] = message.at("reasoning_content"); // these templates' name for it
        }
        if (caps.supports_object_arguments && calls) {
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

void set_variables(jinja::context & ctx, const common_chat_template & tmpl, const json & request) {
    const json  no_kwargs = json::object();
    const json  kwargs    = request.value("kwargs", no_kwargs);
    input_marks none;
    for (const auto & [key, value] : kwargs.items()) {
        ctx.set_val(key, to_value(value, none));
    }
    if (kwargs.contains("preserve_reasoning") && kwargs.at("preserve_reasoning").is_boolean()) {
        jinja::caps_apply_preserve_reasoning(ctx, kwargs.at("preserve_reasoning").get<bool>());
    }
    if (kwargs.contains("reasoning_effort") && kwargs.at("reasoning_effort").is_string()) {
        jinja::caps_apply_reasoning_effort(ctx, kwargs.at("reasoning_effort").get<std::string>());
    }
    ctx.set_val("bos_token", jinja::mk_val<jinja::value_string>(tmpl.bos_token()));
    ctx.set_val("eos_token", jinja::mk_val<jinja::value_string>(tmpl.eos_token()));
    ctx.set_val("enable_thinking", jinja::mk_val<jinja::value_bool>(request.value("enable_thinking", true)));
    if (request.value("add_generation_prompt", true)) {
        ctx.set_val("add_generation_prompt", jinja::mk_val<jinja::value_bool>(true));
    }
}

// One request, ready to be rendered again and again.
class renderer {
  public:
    renderer(const common_chat_template & tmpl, const json & request) :
        tmpl(tmpl),
        request(request),
        messages(adapted(request.at("messages"), tmpl)) {}

    lc_rendered operator()(input_marks & marks) const {
        jinja::context ctx(tmpl.source());
        set_variables(ctx, tmpl, request);
        auto list = jinja::mk_val<jinja::value_array>();
        for (const auto & message : messages) {
            list->push_back(message_value(message, marks));
        }
        ctx.set_val("messages", list);
        if (request.contains("tools") && !request.at("tools").empty()) {
            ctx.set_val("tools", to_value(request.at("tools"), marks));
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

  private:
    const common_chat_template & tmpl;
    const json &                 request;
    json                         messages;
};

// The caller's text has a token of which this byte was replaced.
void mark_around(size_t position, const input_marks & marks, lc_rendered & plain) {
    plain.from_caller[position] = true;
    for (const auto & [token, found] : marks.replaced) {
        const auto offset = byte_to_replace(found->text, marks.choice);
        if (offset && *offset <= position && plain.text.compare(position - *offset, found->text.size(), found->text) == 0) {
            const auto first = plain.from_caller.begin() + (std::ptrdiff_t) (position - *offset);
            std::fill_n(first, found->text.size(), true);
        }
    }
}

// Renders with bytes of some tokens replaced and takes over where they came out. False: the template
// made something else of the conversation, so the two outputs cannot be compared.
bool take_marks(const renderer & render, input_marks & marks, lc_rendered & plain) {
    lc_rendered with;
    try {
        with = render(marks);
    } catch (const std::exception &) {
        return false;
    }
    if (with.text.size() != plain.text.size()) {
        return false;
    }
    for (size_t i = 0; i < with.text.size(); i++) {
        if (with.text[i] != plain.text[i] && with.text[i] != marker) {
            return false;
        }
    }
    for (size_t i = 0; i < with.text.size(); i++) {
        if (with.text[i] != plain.text[i]) {
            mark_around(i, marks, plain);
        }
    }
    return true;
}

// Some templates look for tokens in the caller's text (the end of a reasoning section, say). Halving the
// set finds them; for those the engine's own marks have to do, and other bytes are tried.
void find_marks(const renderer & render, const lc_special_tokens & special, const token_set & tokens, lc_rendered & plain) {
    for (int choice = 0; choice < (tokens.size() == 1 ? n_choices : 1); choice++) {
        input_marks marks;
        marks.special  = &special;
        marks.replaced = tokens;
        marks.choice   = choice;
        if (take_marks(render, marks, plain)) {
            return;
        }
    }
    if (tokens.size() < 2) {
        return;
    }
    const auto middle = std::next(tokens.begin(), (std::ptrdiff_t) tokens.size() / 2);
    find_marks(render, special, { tokens.begin(), middle }, plain);
    find_marks(render, special, { middle, tokens.end() }, plain);
}

// Tokens that the template seems to have written, but to which the caller's text may have added a part.
token_set maybe_completed(const lc_rendered & plain, const lc_special_tokens & special, const json & request) {
    token_set present, out;
    for (size_t i = 0; i < plain.text.size();) {
        const entry * found = special.at(plain.text, i, &plain.from_caller);
        if (found != nullptr) {
            present.emplace(found->token, found);
        }
        i += found != nullptr ? found->text.size() : 1;
    }
    for (const auto & [token, found] : present) {
        if (has_part_of(request.at("messages"), found->text) ||
            (request.contains("tools") && has_part_of(request.at("tools"), found->text))) {
            out.emplace(token, found);
        }
    }
    return out;
}

} // namespace

lc_rendered lc_render(const common_chat_template & tmpl, const json & request, const lc_special_tokens & special, bool safe) {
    const renderer render(tmpl, request);
    input_marks    marks;
    marks.special     = safe ? &special : nullptr;
    lc_rendered plain = render(marks);
    if (!marks.found.empty()) {
        find_marks(render, special, marks.found, plain);
    }
    if (safe) {
        for (const auto & [token, found] : maybe_completed(plain, special, request)) {
            for (int choice = 0; choice < n_choices; choice++) {
                input_marks parts;
                parts.special = &special;
                parts.choice  = choice;
                parts.completed.emplace(token, found);
                if (take_marks(render, parts, plain)) {
                    break;
                }
            }
        }
    }
    return plain;
}
