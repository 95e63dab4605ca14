#include "grammar/ordinary.h"

#include "grammar/rules.h"

namespace {

constexpr size_t MAX_CHARACTERS = 16; // longer tokens are few

// The characters of a text, none if some are no whole ones, or must be escaped in a JSON string.
std::vector<uint32_t> ordinary_characters(const std::string & text) {
    std::vector<uint32_t> found;
    for (size_t i = 0; i < text.size();) {
        const auto   first  = (uint8_t) text[i];
        const size_t n_more = first < 0x80 ? 0 : first < 0xE0 ? 1
                                             : first < 0xF0   ? 2
                                                              : 3;
        uint32_t     value  = n_more == 0 ? first : first & (0x3Fu >> n_more);
        if ((first >= 0x80 && first < 0xC2) || first > 0xF4 || i + n_more >= text.size()) {
            return {};
        }
        for (size_t k = 1; k <= n_more; k++) {
            if (((uint8_t) text[i + k] >> 6) != 2) {
                return {};
            }
            value = (value << 6) | ((uint8_t) text[i + k] & 0x3F);
        }
        const bool is_longer  = (n_more == 2 && value < 0x800) || (n_more == 3 && value < 0x10000);
        const bool is_no_code = (value >= 0xD800 && value < 0xE000) || value > 0x10FFFF;
        if (value < 0x20 || value == '"' || value == '\\' || value == 0x7F || is_longer || is_no_code) {
            return {};
        }
        found.push_back(value);
        i += n_more + 1;
    }
    return found;
}

// The nodes of a trie that lead to some tokens.
std::vector<lc_trie_node> leading_to(const std::vector<lc_trie_node> & nodes, const std::vector<char> & wanted) {
    std::vector<lc_trie_node> kept  = { nodes[0] };
    std::vector<int32_t>      path  = { 0 }; // of the node that is looked at: where those above it are in `kept`
    std::vector<int32_t>      ends  = { nodes[0].end };
    const auto                close = [&] {
        const bool is_used = kept[path.back()].token >= 0 || path.back() + 1 < (int32_t) kept.size();
        if (is_used || path.back() == 0) {
            kept[path.back()].end = (int32_t) kept.size();
        } else {
            kept.pop_back();
        }
        path.pop_back();
        ends.pop_back();
    };
    for (int32_t i = 1; i < (int32_t) nodes.size(); i++) {
        while (ends.back() <= i) {
            close();
        }
        path.push_back((int32_t) kept.size());
        ends.push_back(nodes[i].end);
        kept.push_back(nodes[i]);
        if (nodes[i].token >= 0 && !wanted[nodes[i].token]) {
            kept.back().token = -1;
        }
    }
    while (!path.empty()) {
        close();
    }
    return kept;
}

} // namespace

lc_ordinary::lc_ordinary(const lc_vocabulary & vocabulary) {
    const size_t n_words = ((size_t) vocabulary.size() + 63) / 64;
    tokens.assign(MAX_CHARACTERS, std::vector<uint64_t>(n_words));
    counts.assign(MAX_CHARACTERS, 0);
    std::vector<char> is_other(vocabulary.size(), 1);
    std::vector<bool> occurs(0x110000);
    for (llama_token token = 0; token < vocabulary.size(); token++) {
        const auto   found = ordinary_characters(vocabulary.pieces[token]);
        const size_t n     = found.size();
        if (n == 0 || n > MAX_CHARACTERS) {
            continue;
        }
        is_other[token] = 0;
        counts[n - 1]++;
        tokens[n - 1][(size_t) token / 64] |= 1ull << (token % 64);
        for (const uint32_t c : found) {
            occurs[c] = true;
        }
    }
    for (uint32_t c = 0; c < occurs.size(); c++) {
        if (occurs[c]) {
            characters.push_back(c);
        }
    }
    others = leading_to(vocabulary.nodes, is_other);
}

std::vector<uint32_t> lc_ordinary::examples(const lc_rules & rules) const {
    std::vector<uint32_t> found;
    int32_t               last = -1;
    for (const uint32_t c : characters) {
        if (const int32_t kind = rules.class_of(c); kind != last) {
            found.push_back(c);
            last = kind;
        }
    }
    return found;
}
