#include "grammar/vocabulary.h"

#include "grammar/grammar.h"
#include "grammar/ordinary.h"
#include "llama_cpp/per_process.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace {

struct vocabularies {
    std::mutex                                                                    mutex;
    std::unordered_map<const llama_vocab *, std::shared_ptr<const lc_vocabulary>> all;
};

lc_per_process<vocabularies> known_vocabularies;

std::string piece_of(const llama_vocab * vocab, llama_token token) {
    std::string text(32, '\0');
    int32_t     size = llama_token_to_piece(vocab, token, text.data(), (int32_t) text.size(), 0, true);
    if (size < 0) {
        text.resize((size_t) -size);
        size = llama_token_to_piece(vocab, token, text.data(), (int32_t) text.size(), 0, true);
    }
    text.resize((size_t) std::max(size, 0));
    return text.substr(0, text.find('\0'));
}

bool is_plain(const llama_vocab * vocab, llama_token token) {
    return (llama_vocab_get_attr(vocab, token) & (LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_CONTROL)) == 0;
}

// Whether a text begins with a whole character and has none that cannot be.
bool begins_with_character(const std::string & text) {
    size_t n_whole = 0;
    for (size_t i = 0; i < text.size();) {
        const auto byte = (uint8_t) text[i];
        if (byte >= 0x80 && byte < 0xC0) {
            return false;
        }
        i += byte < 0x80 ? 1 : byte < 0xE0 ? 2
                           : byte < 0xF0   ? 3
                                           : 4;
        n_whole += i <= text.size();
    }
    return n_whole > 0;
}

} // namespace

std::shared_ptr<const lc_vocabulary> lc_vocabulary::of(const llama_vocab * vocab) {
    std::lock_guard<std::mutex> lock(known_vocabularies->mutex);
    auto &                      known = known_vocabularies->all[vocab];
    if (!known || !known->matches(vocab)) {
        known = std::make_shared<const lc_vocabulary>(vocab);
    }
    return known;
}

lc_vocabulary::lc_vocabulary(const llama_vocab * vocab) {
    const int32_t n_tokens = llama_vocab_n_tokens(vocab);
    pieces.resize(n_tokens);
    eog.resize(n_tokens);
    named.resize(n_tokens);
    same.assign(n_tokens, -1);
    std::vector<llama_token> sorted;
    for (llama_token token = 0; token < n_tokens; token++) {
        if (llama_vocab_is_eog(vocab, token)) {
            eog[token] = 1;
            eog_tokens.push_back(token);
            continue;
        }
        pieces[token] = piece_of(vocab, token);
        if (pieces[token].empty() || pieces[token].size() > UINT16_MAX) {
            pieces[token].clear();
            continue;
        }
        named[token] = begins_with_character(pieces[token]);
        sorted.push_back(token);
        if (is_plain(vocab, token)) {
            plain.push_back(token);
            longest = std::max(longest, pieces[token].size());
        }
    }
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](llama_token a, llama_token b) { return pieces[a] < pieces[b]; });
    add_nodes(sorted);
    for (const llama_token token : plain) {
        int32_t node = 0;
        for (const char byte : pieces[token]) {
            node = child(node, (uint8_t) byte);
        }
        nodes[node].plain = true;
    }
    ordinary = std::make_shared<const lc_ordinary>(*this);
}

// The texts come sorted, so each one shares its beginning with the one before.
void lc_vocabulary::add_nodes(const std::vector<llama_token> & sorted) {
    nodes.push_back({ 0, -1, 0, 0, false });
    std::vector<int32_t> path = { 0 }; // the nodes of the text before, the root first
    std::string          before;
    const auto           close = [&](size_t depth) {
        while (path.size() > depth + 1) {
            nodes[path.back()].end = (int32_t) nodes.size();
            path.pop_back();
        }
    };
    for (const llama_token token : sorted) {
        const std::string & text   = pieces[token];
        const auto          shared = std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first - text.begin();
        close((size_t) shared);
        for (size_t i = (size_t) shared; i < text.size(); i++) {
            path.push_back((int32_t) nodes.size());
            nodes.push_back({ 0, -1, (uint16_t) (i + 1), (uint8_t) text[i], false });
        }
        llama_token * last = &nodes[path.back()].token;
        while (*last != -1) {
            last = &same[*last];
        }
        *last  = token;
        before = text;
    }
    close(0);
    nodes[0].end = (int32_t) nodes.size();
    add_roots();
}

void lc_vocabulary::add_roots() {
    for (int32_t i = 1; i < (int32_t) nodes.size(); i = nodes[i].end) {
        roots[nodes[i].byte] = i;
    }
}

int32_t lc_vocabulary::child(int32_t node, uint8_t byte) const {
    if (node == 0) {
        return roots[byte];
    }
    for (int32_t i = node + 1; i < nodes[node].end && nodes[i].byte <= byte; i = nodes[i].end) {
        if (nodes[i].byte == byte) {
            return i;
        }
    }
    return 0;
}

bool lc_vocabulary::matches(const llama_vocab * vocab) const {
    if (llama_vocab_n_tokens(vocab) != size()) {
        return false;
    }
    for (llama_token token = 0; token < size(); token += std::max(1, size() / 64)) {
        if (!eog[token] && pieces[token] != piece_of(vocab, token)) {
            return false;
        }
    }
    return true;
}

void lc_forget_vocabulary(const llama_vocab * vocab) {
    lc_grammar::forget(vocab);
    std::lock_guard<std::mutex> lock(known_vocabularies->mutex);
    known_vocabularies->all.erase(vocab);
}
