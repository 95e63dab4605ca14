// What a template sees of the caller's strings, and tools that are made into such values once.
#pragma once

#include "render.h"
#include "tool_memo.h"

#include "jinja/value.h"

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

using lc_token_set = std::map<llama_token, const lc_special_tokens::entry *>;

// How to treat the caller's strings while rendering.
struct lc_input_marks {
    static constexpr int  n_choices = 3; // bytes of a token to try
    static constexpr char marker    = '\x7f'; // neither JSON nor HTML escapes it, and no letter case or trimming changes it

    const lc_special_tokens * special = nullptr; // null: leave them alone
    lc_token_set              found;             // control tokens that they spell out
    lc_token_set              replaced;          // which of them get a byte replaced
    lc_token_set              completed;         // a byte is replaced in a part of these at a string's end
    int                       choice = 0;        // which byte
};

// The position of the byte to replace, from the end of the token's text.
std::optional<size_t> lc_byte_to_replace(const std::string & text, int choice);

// Whether a string in a value begins or ends with a part of a token that text around it could complete.
bool lc_has_part_of(const json & j, const std::string & token);

jinja::value lc_to_value(const json & j, lc_input_marks & marks);

// Tools as JSON and as the template's values, which take longer to make than to render.
struct lc_tools {
    struct values {
        jinja::value list;
        lc_token_set found;
    };
    json          parsed;
    lc_tool_texts texts;

    // Whether marks find the same in these tools as marks that replace nothing.
    bool same_with(const lc_input_marks & marks);
    bool has_part_of(const lc_special_tokens::entry & token);

    // Values for one such rendering: those of an earlier one, if it has ended.
    values take(const lc_special_tokens & special);
    void   give_back(values used);

  private:
    std::mutex                  mutex;
    std::vector<values>         idle;
    std::map<llama_token, bool> parts; // what has_part_of() has found
};
