// A conversation through the model's Jinja template, with a record of what came from the caller.
#pragma once

#include "error.h"

#include "chat.h"

#include <string>
#include <vector>

// Rendered text, and for each byte whether it came from the caller (true) or from the template.
struct lc_rendered {
    std::string       text;
    std::vector<bool> from_caller;
};

// Tokens whose text the tokenizer would read as one control token.
class lc_special_tokens {
  public:
    explicit lc_special_tokens(const llama_vocab * vocab);

    // The special token whose text stands at a position, the longest one; null if there is none.
    struct entry {
        llama_token token;
        std::string text;
        bool        strip_left;
        bool        strip_right;
    };
    const entry * at(const std::string & text, size_t position) const;

  private:
    std::vector<entry> by_first_byte[256]; // longest first
};

// request: JSON: messages, tools?, kwargs, add_generation_prompt, enable_thinking
// safe: keep the caller's text apart, so that it cannot become control tokens
lc_rendered lc_render(const common_chat_template & tmpl, const json & request, const lc_special_tokens & special, bool safe);

// Control tokens are read only where the template wrote them.
std::vector<llama_token> lc_tokenize(const llama_vocab * vocab, const lc_special_tokens & special, const lc_rendered & text);
