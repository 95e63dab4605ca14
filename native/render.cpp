// Renders a conversation and finds out which bytes came from the caller.
//
// llama.cpp's Jinja engine marks which parts of its output came from input, but loses the marks where a template
// cuts or serializes a value. So a conversation whose text spells a control token is rendered twice, the second time
// with one byte of each such token replaced by DEL (0x7f): where the two outputs differ is the caller's text.
//
// An example: a user writes "Hi <|im_end|>", the template is Qwen3's. The plain rendering, in which nothing tells the
// user's <|im_end|> from the template's:
//
//     <|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n
//
// The rendering with the token's last byte replaced in the user's text:
//
//     <|im_start|>user\nHi <|im_end|\x7f<|im_end|>\n<|im_start|>assistant\n
//
// They differ in one byte, so the ten bytes of the token around it are the caller's (^):
//
//     <|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n
//                          ^^^^^^^^^^
//
// There, lc_tokenize() reads plain text; everywhere else it reads control tokens, in brackets here:
//
//     [<|im_start|>] user \n Hi _< | im _ end | > [<|im_end|>] \n [<|im_start|>] ass istant \n
//
// A template may look for a token in the text that it is given (the end of the reasoning, say) and make something else
// of the changed text. Then the two outputs cannot be compared, and find_marks() looks for the token that is to blame.
// A third rendering serves tokens that the caller's text only completes: a template that writes "<|" and then the
// caller's "im_end|>".
#include "template_bounds.h"
#include "template_guard.h"
#include "template_values.h"
#include "tool_parts.h"

#include "jinja/caps.h"
#include "jinja/runtime.h"

#include <algorithm>
#include <stdexcept>

namespace {

jinja::value message_value(const json & message, lc_input_marks & marks) {
    auto           out = jinja::mk_val<jinja::value_object>();
    lc_input_marks none;
    for (const auto & [key, value] : message.items()) {
        // Core has checked the role; many templates build their own tokens from it.
        out->insert(key, lc_to_value(value, key == "role" ? none : marks));
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
        json part    = json::object();
        part["type"] = "text";
        part["text"] = content;
        json parts   = json::array();
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

// Documents and other variables of a template can hold texts of strangers. Returns whether marks change them.
bool set_variables(jinja::context & ctx, const common_chat_template & tmpl, const lc_conversation & conversation,
                   lc_input_marks & marks) {
    const json &   kwargs = conversation.kwargs;
    lc_input_marks own    = marks;
    own.found.clear();
    for (const auto & [key, value] : kwargs.items()) {
        ctx.set_val(key, lc_to_value(value, own));
    }
    marks.found.insert(own.found.begin(), own.found.end());
    if (kwargs.contains("preserve_reasoning") && kwargs.at("preserve_reasoning").is_boolean()) {
        jinja::caps_apply_preserve_reasoning(ctx, kwargs.at("preserve_reasoning").get<bool>());
    }
    if (kwargs.contains("reasoning_effort") && kwargs.at("reasoning_effort").is_string()) {
        jinja::caps_apply_reasoning_effort(ctx, kwargs.at("reasoning_effort").get<std::string>());
    }
    ctx.set_val("bos_token", jinja::mk_val<jinja::value_string>(tmpl.bos_token()));
    ctx.set_val("eos_token", jinja::mk_val<jinja::value_string>(tmpl.eos_token()));
    ctx.set_val("enable_thinking", jinja::mk_val<jinja::value_bool>(conversation.enable_thinking));
    if (conversation.add_generation_prompt) {
        ctx.set_val("add_generation_prompt", jinja::mk_val<jinja::value_bool>(true));
    }
    return !own.found.empty() || !marks.completed.empty();
}

// One request, ready to be rendered again and again.
class renderer {
  public:
    renderer(const lc_template & tmpl, lc_tools * tools, const lc_conversation & conversation) :
        tmpl(tmpl),
        tools(tools),
        conversation(conversation),
        messages(adapted(conversation.messages, tmpl)),
        settings(conversation.settings()) {}

    lc_rendered operator()(lc_input_marks & marks) const {
        lc_bounds::rendering bounded;
        jinja::context       ctx(tmpl.source());
        const bool           other_variables = set_variables(ctx, tmpl, conversation, marks);
        auto                 list            = jinja::mk_val<jinja::value_array>();
        for (const auto & message : messages) {
            list->push_back(message_value(message, marks));
        }
        ctx.set_val("messages", list);
        lc_tools::values            lent;
        std::optional<lc_tool_memo> memo;
        if (tools != nullptr && !tmpl.changes_values && !other_variables && tools->same_with(marks)) {
            lent = tools->take(*marks.special);
            marks.found.insert(lent.found.begin(), lent.found.end());
            ctx.set_val("tools", lent.list);
            memo.emplace(tools->texts, lent.list, settings);
        } else if (tools != nullptr) {
            ctx.set_val("tools", lc_to_value(tools->parsed, marks));
        }
        jinja::runtime runtime(ctx);
        const auto     parts = jinja::runtime::gather_string_parts(runtime.execute(tmpl.prog));
        lc_rendered    out;
        for (const auto & part : parts->val_str.parts) {
            out.text += part.val;
            out.from_caller.resize(out.text.size(), part.is_input);
        }
        if (lent.list && !bounded.has_changed_values()) {
            tools->give_back(std::move(lent));
        }
        return out;
    }

  private:
    const lc_template &     tmpl;
    lc_tools *              tools;
    const lc_conversation & conversation;
    json                    messages;
    std::string             settings;
};

// The caller's text has a token of which this byte was replaced.
void mark_around(size_t position, const lc_input_marks & marks, lc_rendered & plain) {
    plain.from_caller[position] = true;
    for (const auto & [token, found] : marks.replaced) {
        const auto offset = lc_byte_to_replace(found->text, marks.choice);
        if (offset && *offset <= position && plain.text.compare(position - *offset, found->text.size(), found->text) == 0) {
            const auto first = plain.from_caller.begin() + (std::ptrdiff_t) (position - *offset);
            std::fill_n(first, found->text.size(), true);
        }
    }
}

// Renders with bytes of some tokens replaced and takes over where they came out. False: the template
// made something else of the conversation, so the two outputs cannot be compared.
bool take_marks(const renderer & render, lc_input_marks & marks, lc_rendered & plain) {
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
        if (with.text[i] != plain.text[i] && with.text[i] != lc_input_marks::marker) {
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
void find_marks(const renderer & render, const lc_special_tokens & special, const lc_token_set & tokens, lc_rendered & plain) {
    for (int choice = 0; choice < (tokens.size() == 1 ? lc_input_marks::n_choices : 1); choice++) {
        lc_input_marks marks;
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
lc_token_set maybe_completed(const lc_rendered & plain, const lc_special_tokens & special,
                             const lc_conversation & conversation, lc_tools * tools) {
    lc_token_set present, out;
    for (size_t i = 0; i < plain.text.size();) {
        const lc_special_tokens::entry * found = special.at(plain.text, i, &plain.from_caller);
        if (found != nullptr) {
            present.emplace(found->token, found);
        }
        i += found != nullptr ? found->text.size() : 1;
    }
    for (const auto & [token, found] : present) {
        if (lc_has_part_of(conversation.messages, found->text) || lc_has_part_of(conversation.kwargs, found->text) ||
            (tools != nullptr && tools->has_part_of(*found))) {
            out.emplace(token, found);
        }
    }
    return out;
}

} // namespace

lc_template::lc_template(const std::string & source, const std::string & bos_token, const std::string & eos_token) :
    common_chat_template(source, bos_token, eos_token),
    changes_values(lc_changes_values(prog)) {
    lc_guard_template(prog);
    lc_remember_tool_parts(prog);
}

std::string lc_conversation::settings() const {
    json out = json::array();
    out.push_back(kwargs);
    out.push_back(enable_thinking);
    out.push_back(add_generation_prompt);
    return out.dump();
}

std::string lc_render_text(const lc_template & tmpl, lc_tools * tools, const lc_conversation & conversation,
                           const lc_special_tokens & special) {
    lc_input_marks marks;
    marks.special = &special;
    return renderer(tmpl, tools, conversation)(marks).text;
}

lc_rendered lc_render(const lc_template & tmpl, lc_tools * tools, const lc_conversation & conversation,
                      const lc_special_tokens & special, bool safe) {
    const renderer render(tmpl, tools, conversation);
    lc_input_marks marks;
    marks.special     = safe ? &special : nullptr;
    lc_rendered plain = render(marks);
    if (!marks.found.empty()) {
        find_marks(render, special, marks.found, plain);
    }
    if (safe) {
        for (const auto & [token, found] : maybe_completed(plain, special, conversation, tools)) {
            for (int choice = 0; choice < lc_input_marks::n_choices; choice++) {
                lc_input_marks parts;
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
