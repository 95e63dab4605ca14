// A conversation through the model's Jinja template, with a record of what came from the caller.
#pragma once

#include "error.h"

#include "chat.h"
#include "json.h"

#include <array>
#include <cstdint>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

using json = common_json;

// What a template sees beside the tools.
struct lc_conversation {
    json messages              = json::array();
    json kwargs                = json::object(); // variables of the caller's
    bool add_generation_prompt = true;
    bool enable_thinking       = true;

    std::string settings() const; // all but the messages, as text
};

// Rendered text, and for each byte whether it came from the caller (true) or from the template.
struct lc_rendered {
    std::string       text;
    std::vector<bool> from_caller;
};

// The control tokens of a vocabulary, found by their text.
class lc_special_tokens {
  public:
    explicit lc_special_tokens(const llama_vocab * vocab);

    struct entry {
        llama_token token;
        std::string text;
        bool        strip_left;
        bool        strip_right;
    };
    // The longest control token whose text is at a position, and no byte of which is in skip; null if none.
    const entry * at(const std::string & text, size_t position, const std::vector<bool> * skip = nullptr) const;

  private:
    std::array<bool, 256>                            starts{};     // whether a token begins with a byte
    std::unordered_map<uint16_t, std::vector<entry>> by_two_bytes; // longest first
    std::unordered_map<uint8_t, entry>               single_bytes;
};

// Tokens of pieces of text that were seen before, such as a system message with its tools.
class lc_token_cache {
  public:
    void append(const llama_vocab * vocab, const std::string & raw, std::vector<llama_token> & out);

  private:
    struct piece {
        std::string              text;
        std::vector<llama_token> tokens;
    };
    std::mutex                                                       mutex;
    std::list<piece>                                                 pieces; // used last first
    std::unordered_map<std::string_view, std::list<piece>::iterator> by_text; // keys point into pieces
    size_t                                                           size = 0;
};

extern "C" {
typedef struct lc_tools lc_tools;
}

const json & lc_tools_json(const lc_tools & tools);

// A template that remembers what it wrote of tools.
struct lc_template : common_chat_template {
    lc_template(const std::string & source, const std::string & bos_token, const std::string & eos_token);

    bool changes_values; // it may change the values that it is given
};

// tools: null for none
// safe: find out what came from the caller
lc_rendered lc_render(const lc_template & tmpl, lc_tools * tools, const lc_conversation & conversation,
                      const lc_special_tokens & special, bool safe);

// The text alone.
std::string lc_render_text(const lc_template & tmpl, lc_tools * tools, const lc_conversation & conversation,
                           const lc_special_tokens & special);

// Control tokens are read only where the template wrote them.
std::vector<llama_token> lc_tokenize(const llama_vocab * vocab, const lc_special_tokens & special, lc_token_cache & cache,
                                     const lc_rendered & text, bool add_bos = true);

// Takes control tokens apart in every text of a value but the encoded media, for whoever can only read them all: a
// mark goes after the first character of each.
struct lc_taken_apart {
    const lc_special_tokens * special;              // null: no tokens, the marker alone
    std::string               mark = "\xe2\x81\xa0"; // U+2060, which is invisible
    std::set<std::string>     spared{};             // tokens that stay as they are
    std::set<std::string>     found{};
    std::string               marker{}; // another text to take apart: where a picture goes

    void        operator()(json & value);
    std::string text(const std::string & in);
};
