#include "grammar/mask.h"

#include <algorithm>

namespace {

constexpr size_t MAX_FEW   = 1024;
constexpr size_t MAX_BYTES = 8 << 20; // of the masks that are kept for an automaton

class collector {
  public:
    collector(const lc_vocabulary & vocabulary, lc_mask & mask) : vocabulary(vocabulary), mask(mask) {}

    void add_node(const lc_trie_node & node) {
        for (llama_token token = node.token; token >= 0; token = vocabulary.same[token]) {
            add(token);
        }
    }

    void add(llama_token token) {
        if (mask.bits.empty() && mask.few.size() == MAX_FEW) {
            mask.bits.resize(((size_t) vocabulary.size() + 63) / 64);
            for (const llama_token one : mask.few) {
                set(one);
            }
            mask.few.clear();
        }
        if (mask.bits.empty()) {
            mask.few.push_back(token);
        } else {
            set(token);
        }
        mask.count++;
    }

  private:
    void set(llama_token token) { mask.bits[(size_t) token / 64] |= 1ull << (token % 64); }

    const lc_vocabulary & vocabulary;
    lc_mask &             mask;
};

// Tokens that the grammar names, whatever their text is.
void add_named(lc_automaton & automaton, const lc_vocabulary & vocabulary, const lc_position & at, int32_t max_left,
               lc_mask & mask, collector & found) {
    std::vector<llama_token> more;
    for (llama_token token = 0; token < vocabulary.size(); token++) {
        if (!vocabulary.named[token] || mask.has(token) || !automaton.takes_token(at, token)) {
            continue;
        }
        const int32_t left = automaton.least(automaton.accept(at, token, vocabulary.pieces[token]));
        mask.farthest      = std::max(mask.farthest, left);
        if (left <= max_left) {
            more.push_back(token);
        }
    }
    for (const llama_token token : more) {
        found.add(token);
    }
}

} // namespace

bool lc_mask::has(llama_token token) const {
    if (bits.empty()) {
        return std::binary_search(few.begin(), few.end(), token);
    }
    return (bits[(size_t) token / 64] >> (token % 64)) & 1;
}

lc_mask lc_make_mask(lc_automaton & automaton, const lc_vocabulary & vocabulary, const lc_position & at, int32_t max_left) {
    lc_mask mask;
    mask.ends = automaton.is_complete(at);
    collector                found(vocabulary, mask);
    std::vector<lc_position> path  = { at }; // of the node before: where the text stands after each of its bytes
    const auto &             nodes = vocabulary.nodes;
    for (int32_t i = 1; i < (int32_t) nodes.size();) {
        const lc_trie_node & node = nodes[i];
        path.resize(node.depth);
        int32_t farthest = mask.farthest;
        if (automaton.takes_all(path.back(), vocabulary.subtrees[i], farthest) && farthest <= max_left) {
            mask.farthest = farthest;
            for (; i < node.end; i++) {
                found.add_node(nodes[i]);
            }
            continue;
        }
        const lc_position next = automaton.step(path.back(), node.byte, node.depth <= at.n_remain);
        if (!next.alive()) {
            i = node.end;
            continue;
        }
        path.push_back(next);
        i++;
        if (node.token >= 0 && automaton.may_pause(next)) {
            const int32_t left = automaton.least(next);
            mask.farthest      = std::max(mask.farthest, left);
            if (left <= max_left) {
                found.add_node(node);
            }
        }
    }
    std::sort(mask.few.begin(), mask.few.end());
    if (automaton.wants_token(at)) {
        add_named(automaton, vocabulary, at, max_left, mask, found);
        std::sort(mask.few.begin(), mask.few.end());
    }
    return mask;
}

std::shared_ptr<const lc_mask> lc_masks::at(lc_automaton & automaton, const lc_vocabulary & vocabulary,
                                            const lc_position & at) {
    const key  wanted = { at.state, { at.value, at.n_remain } };
    const auto known  = by_key.find(wanted);
    if (known != by_key.end()) {
        entries.splice(entries.begin(), entries, known->second);
        return entries.front().second;
    }
    auto made = std::make_shared<const lc_mask>(lc_make_mask(automaton, vocabulary, at, INT32_MAX));
    entries.emplace_front(wanted, made);
    by_key[wanted] = entries.begin();
    n_bytes += made->bytes();
    while (n_bytes > MAX_BYTES && entries.size() > 1) {
        n_bytes -= entries.back().second->bytes();
        by_key.erase(entries.back().first);
        entries.pop_back();
    }
    return made;
}
