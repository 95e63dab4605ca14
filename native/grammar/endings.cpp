#include "grammar/endings.h"

#include <algorithm>

namespace {

constexpr size_t MAX_WINDOW = 32;      // longer tokens are not used for endings
constexpr size_t MAX_UNITS  = 1 << 16; // of one ending's text; what is longer counts as endless

void add_utf8(uint32_t c, std::vector<lc_unit> & out) {
    if (c < 0x80) {
        out.push_back((lc_unit) c);
        return;
    }
    const int n_more = c < 0x800 ? 1 : c < 0x10000 ? 2
                                                   : 3;
    out.push_back((lc_unit) (((0xFF00 >> (n_more + 1)) & 0xFF) | (c >> (6 * n_more))));
    for (int i = n_more - 1; i >= 0; i--) {
        out.push_back((lc_unit) (0x80 | ((c >> (6 * i)) & 0x3F)));
    }
}

} // namespace

lc_endings::lc_endings(std::shared_ptr<const lc_rules> rules_, std::shared_ptr<const lc_vocabulary> vocabulary_) :
    rules(std::move(rules_)), vocabulary(std::move(vocabulary_)) {
    window = std::min(vocabulary->longest, MAX_WINDOW);
    choose_alternatives();
}

lc_ending lc_endings::nothing() { return { {}, { 1 } }; }

lc_ending lc_endings::from(int32_t position, const lc_ending & rest) const {
    std::vector<lc_unit> text;
    if (!spell(position, text)) {
        return { {}, { LC_NEVER } };
    }
    return join(std::move(text), rest);
}

lc_ending lc_endings::character(int32_t position, uint32_t value, int32_t n_remain, const lc_ending & rest) const {
    const lc_code_points range(value, n_remain);
    const uint32_t       usual = example(position);
    const int64_t        c =
        range.first <= usual && usual <= range.last ? (int64_t) usual : rules->first_match(position, range.first, range.last);
    if (c < 0) {
        return { {}, { LC_NEVER } };
    }
    std::vector<lc_unit> text;
    add_utf8((uint32_t) c, text);
    text.erase(text.begin(), text.end() - std::min<ptrdiff_t>(n_remain, (ptrdiff_t) text.size()));
    return join(std::move(text), rest);
}

// Of all characters that a terminal matches, one that tokenisers know well.
uint32_t lc_endings::example(int32_t position) const {
    for (const char c : { 'a', '0', 'A', ' ', '"', '.' }) {
        if (rules->matches(position, (uint32_t) c)) {
            return (uint32_t) c;
        }
    }
    for (const auto & [low, high] : { std::pair<uint32_t, uint32_t>{ ' ', '~' }, { 0xA1, 0xD7FF }, { 0, 0x10FFFF } }) {
        if (const int64_t found = rules->first_match(position, low, high); found >= 0) {
            return (uint32_t) found;
        }
    }
    return 0;
}

void lc_endings::spell_terminal(int32_t position, std::vector<lc_unit> & out) const {
    if (!rules->is_token(position)) {
        add_utf8(example(position), out);
        return;
    }
    const auto token = (llama_token) rules->at(position).value;
    if (rules->at(position).type == LLAMA_GRETYPE_TOKEN) {
        out.push_back(LC_TOKEN_UNIT + token);
        return;
    }
    const auto other = std::find_if(vocabulary->plain.begin(), vocabulary->plain.end(),
                                    [&](llama_token candidate) { return candidate != token; });
    out.push_back(LC_TOKEN_UNIT + (other == vocabulary->plain.end() ? token : *other));
}

// False if it cannot end, or not within MAX_UNITS.
bool lc_endings::spell(int32_t position, std::vector<lc_unit> & out) const {
    std::vector<int32_t> todo = { position };
    while (!todo.empty()) {
        const int32_t at = todo.back();
        if (rules->is_end(at)) {
            todo.pop_back();
        } else if (rules->at(at).type == LLAMA_GRETYPE_RULE_REF) {
            const int32_t chosen = choice[rules->at(at).value];
            if (chosen < 0) {
                return false;
            }
            todo.back() = at + 1;
            todo.push_back(chosen);
        } else {
            spell_terminal(at, out);
            todo.back() = rules->after(at);
        }
        if (out.size() > MAX_UNITS) {
            return false;
        }
    }
    return true;
}

lc_ending lc_endings::join(std::vector<lc_unit> text, const lc_ending & rest) const {
    const size_t n_own = text.size();
    text.insert(text.end(), rest.head.begin(), rest.head.end());
    std::vector<int32_t> tokens(n_own);
    tokens.insert(tokens.end(), rest.tokens.begin(), rest.tokens.end());
    for (size_t i = n_own; i-- > 0;) {
        tokens[i] = least_from(text, i, tokens);
    }
    if (text.size() > window) {
        text.resize(window);
        tokens.resize(window + 1);
    }
    return { std::move(text), std::move(tokens) };
}

// One token, then the best that can follow it.
int32_t lc_endings::least_from(const std::vector<lc_unit> & text, size_t at, const std::vector<int32_t> & tokens) const {
    if (text[at] >= LC_TOKEN_UNIT) {
        return std::min(tokens[at + 1] + 1, LC_NEVER);
    }
    int32_t best = LC_NEVER;
    int32_t node = 0;
    for (size_t i = at; i < text.size() && i < at + window && text[i] < LC_TOKEN_UNIT; i++) {
        node = vocabulary->child(node, (uint8_t) text[i]);
        if (node == 0) {
            break;
        }
        if (vocabulary->nodes[node].plain) {
            best = std::min(best, tokens[i + 1] + 1);
        }
    }
    return best;
}

std::vector<lc_endings::alternative> lc_endings::read_alternatives() const {
    std::vector<alternative> out;
    const lc_ending          empty = { {}, { 0 } };
    for (int32_t rule = 0; rule < (int32_t) rules->starts.size(); rule++) {
        for (int32_t start = rules->starts[rule]; start >= 0; start = rules->next_alternative(start)) {
            alternative          found = { rule, start, 0, {} };
            std::vector<lc_unit> text;
            const auto           count = [&] {
                found.tokens = std::min(found.tokens + join(std::move(text), empty).least(), LC_NEVER);
                text.clear();
            };
            for (int32_t i = start; !rules->is_end(i); i = rules->after(i)) {
                if (rules->at(i).type == LLAMA_GRETYPE_RULE_REF) {
                    count();
                    found.refs.push_back((int32_t) rules->at(i).value);
                } else {
                    spell_terminal(i, text);
                }
            }
            count();
            out.push_back(std::move(found));
        }
    }
    return out;
}

int64_t lc_endings::sum_of(const alternative & one) const {
    int64_t sum = one.tokens;
    for (const int32_t rule : one.refs) {
        sum += cost[rule];
    }
    return sum;
}

void lc_endings::choose_alternatives() {
    const auto                       alternatives = read_alternatives();
    std::vector<std::vector<size_t>> users(rules->starts.size());
    std::vector<size_t>              todo;
    choice.assign(rules->starts.size(), -1);
    cost.assign(rules->starts.size(), LC_NEVER);
    for (size_t i = 0; i < alternatives.size(); i++) {
        for (const int32_t rule : alternatives[i].refs) {
            users[rule].push_back(i);
        }
        todo.push_back(i);
    }
    for (size_t next = 0; next < todo.size(); next++) {
        const auto &  found = alternatives[todo[next]];
        const int64_t sum   = sum_of(found);
        if (sum < cost[found.rule]) {
            cost[found.rule]   = sum;
            choice[found.rule] = found.start;
            todo.insert(todo.end(), users[found.rule].begin(), users[found.rule].end());
        }
    }
}
