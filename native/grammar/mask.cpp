#include "grammar/mask.h"

#include "grammar/ordinary.h"

#include <algorithm>
#include <iterator>

namespace {

constexpr size_t MAX_FEW   = 1024;
constexpr size_t MAX_BYTES = 8 << 20; // of the masks that are kept for an automaton

// What is found, as far as the answer can end with `max_left` more.
class collector {
  public:
    collector(lc_automaton & automaton, const lc_vocabulary & vocabulary, int32_t max_left, lc_mask & mask) :
        automaton(automaton), vocabulary(vocabulary), max_left(max_left), mask(mask) {}

    bool is_near(const lc_position & next) {
        const int32_t left = automaton.least(next, max_left);
        if (left > max_left) {
            mask.nearest = std::min(mask.nearest, left);
            return false;
        }
        mask.farthest = std::max(mask.farthest, left);
        return true;
    }

    void add_node(const lc_trie_node & node) {
        for (llama_token token = node.token; token >= 0; token = vocabulary.same[token]) {
            add(token);
        }
    }

    void add(llama_token token) {
        if (mask.bits.empty() && mask.few.size() == MAX_FEW) {
            use_bits();
        }
        if (mask.bits.empty()) {
            mask.few.push_back(token);
        } else {
            set(token);
        }
        mask.count++;
    }

    void add_all(const std::vector<uint64_t> & tokens, size_t count) {
        if (mask.bits.empty()) {
            use_bits();
        }
        for (size_t i = 0; i < tokens.size(); i++) {
            mask.bits[i] |= tokens[i];
        }
        mask.count += count;
    }

    void finish() {
        std::sort(mask.few.begin(), mask.few.end());
        if (mask.ends && !mask.bits.empty()) {
            for (const llama_token token : vocabulary.eog_tokens) {
                set(token);
            }
        }
    }

  private:
    void set(llama_token token) { mask.bits[(size_t) token / 64] |= 1ull << (token % 64); }

    void use_bits() {
        mask.bits.resize(((size_t) vocabulary.size() + 63) / 64);
        for (const llama_token one : mask.few) {
            set(one);
        }
        mask.few.clear();
    }

    lc_automaton &        automaton;
    const lc_vocabulary & vocabulary;
    const int32_t         max_left;
    lc_mask &             mask;
};

// Adds the ordinary tokens; false, and none of them, where some characters of them go on in another way than others.
bool add_ordinary(lc_automaton & automaton, const lc_ordinary & ordinary, lc_position next, collector & found) {
    std::vector<lc_position> after; // of one character, of two, ...
    while (after.size() < ordinary.tokens.size()) {
        if (!automaton.step_ordinary(next)) {
            return false;
        }
        if (!next.alive()) {
            break;
        }
        after.push_back(next);
    }
    for (size_t i = 0; i < after.size(); i++) {
        if (ordinary.counts[i] > 0 && found.is_near(after[i])) {
            found.add_all(ordinary.tokens[i], ordinary.counts[i]);
        }
    }
    return true;
}

void add_nodes(lc_automaton & automaton, const std::vector<lc_trie_node> & nodes, const lc_position & at,
               collector & found) {
    std::vector<lc_position> path = { at }; // of the node before: where the text stands after each of its bytes
    for (int32_t i = 1; i < (int32_t) nodes.size();) {
        const lc_trie_node & node = nodes[i];
        path.resize(node.depth);
        const lc_position next = automaton.step(path.back(), node.byte, node.depth <= at.n_remain);
        if (!next.alive()) {
            i = node.end;
            continue;
        }
        path.push_back(next);
        i++;
        if (node.token >= 0 && automaton.may_pause(next) && found.is_near(next)) {
            found.add_node(node);
        }
    }
}

// Tokens that the grammar names, whatever their text is.
void add_named(lc_automaton & automaton, const lc_vocabulary & vocabulary, const lc_position & at, lc_mask & mask,
               collector & found) {
    std::sort(mask.few.begin(), mask.few.end());
    std::vector<llama_token> more;
    for (llama_token token = 0; token < vocabulary.size(); token++) {
        if (vocabulary.named[token] && !mask.has(token) && automaton.takes_token(at, token) &&
            found.is_near(automaton.accept(at, token, vocabulary.pieces[token]))) {
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
    collector    found(automaton, vocabulary, max_left, mask);
    const auto & ordinary = *vocabulary.ordinary;
    const bool   together = add_ordinary(automaton, ordinary, at, found);
    add_nodes(automaton, together ? ordinary.others : vocabulary.nodes, at, found);
    if (automaton.wants_token(at)) {
        add_named(automaton, vocabulary, at, mask, found);
    }
    found.finish();
    return mask;
}

std::shared_ptr<const lc_mask> lc_masks::at(lc_automaton & automaton, const lc_vocabulary & vocabulary,
                                            const lc_position & at, int32_t max_left) {
    const key wanted        = { at.state, { at.value, at.n_remain } };
    const auto [first, end] = by_key.equal_range(wanted);
    for (auto i = first; i != end; ++i) {
        if (i->second->second->holds(max_left)) {
            entries.splice(entries.begin(), entries, i->second);
            return entries.front().second;
        }
    }
    auto made = std::make_shared<const lc_mask>(lc_make_mask(automaton, vocabulary, at, max_left));
    entries.emplace_front(wanted, made);
    by_key.emplace(wanted, entries.begin());
    n_bytes += made->bytes();
    while (n_bytes > MAX_BYTES && entries.size() > 1) {
        forget_last();
    }
    return made;
}

void lc_masks::forget_last() {
    const auto last  = std::prev(entries.end());
    const auto range = by_key.equal_range(last->first);
    by_key.erase(std::find_if(range.first, range.second, [&](const auto & one) { return one.second == last; }));
    n_bytes -= last->second->bytes();
    entries.pop_back();
}
