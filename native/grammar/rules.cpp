#include "grammar/rules.h"

#include <algorithm>

namespace {

bool is_character(llama_gretype type) {
    return type == LLAMA_GRETYPE_CHAR || type == LLAMA_GRETYPE_CHAR_NOT || type == LLAMA_GRETYPE_CHAR_ALT ||
           type == LLAMA_GRETYPE_CHAR_ANY;
}

} // namespace

lc_rules::lc_rules(const llama_vocab * vocab, const std::string & text, const std::string & root_name) {
    llama_grammar_parser parser(vocab);
    if (!parser.parse(text.c_str()) || parser.rules.empty()) {
        throw lc_grammar_error("the grammar cannot be parsed");
    }
    const auto found = parser.symbol_ids.find(root_name);
    if (found == parser.symbol_ids.end()) {
        throw lc_grammar_error("the grammar does not define the start rule '" + root_name + "'");
    }
    root = (int32_t) found->second;
    flatten(parser.rules);
    find_classes();
}

void lc_rules::flatten(const llama_grammar_rules & rules) {
    for (const auto & rule : rules) {
        starts.push_back((int32_t) elements.size());
        elements.insert(elements.end(), rule.begin(), rule.end());
    }
    for (int32_t i = 0; i < (int32_t) elements.size(); i++) {
        has_tokens = has_tokens || is_token(i);
    }
}

int32_t lc_rules::after(int32_t position) const {
    position++;
    while (elements[position].type == LLAMA_GRETYPE_CHAR_ALT || elements[position].type == LLAMA_GRETYPE_CHAR_RNG_UPPER) {
        position++;
    }
    return position;
}

int32_t lc_rules::next_alternative(int32_t position) const {
    while (!is_end(position)) {
        position++;
    }
    return elements[position].type == LLAMA_GRETYPE_ALT ? position + 1 : -1;
}

bool lc_rules::matches_token(int32_t position, llama_token token) const {
    const auto & element = elements[position];
    return (element.value == (uint32_t) token) == (element.type == LLAMA_GRETYPE_TOKEN);
}

bool lc_rules::matches(int32_t position, uint32_t code_point) const {
    return first_match(position, code_point, code_point) >= 0;
}

bool lc_rules::may_match(int32_t position, uint32_t low, uint32_t high) const {
    const int64_t first = first_match(position, low, high);
    if (elements[position].type != LLAMA_GRETYPE_CHAR_NOT || first < 0) {
        return first >= 0;
    }
    for (int32_t i = position; i < after(position); i++) {
        const bool     span = elements[i + 1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
        const uint32_t to   = elements[span ? i + 1 : i].value;
        if (elements[i].type != LLAMA_GRETYPE_CHAR_RNG_UPPER && elements[i].value <= high && low <= to) {
            return false;
        }
    }
    return true;
}

int64_t lc_rules::first_match(int32_t position, uint32_t low, uint32_t high) const {
    if (low > high) {
        return -1;
    }
    const bool    inverse = elements[position].type == LLAMA_GRETYPE_CHAR_NOT;
    int64_t       first   = -1;
    uint32_t      free    = low; // the first that no element of an inverse set holds, as far as seen
    const int32_t end     = after(position);
    for (bool changed = true; changed;) {
        changed = false;
        for (int32_t i = position; i < end; i++) {
            if (elements[i].type == LLAMA_GRETYPE_CHAR_RNG_UPPER) {
                continue;
            }
            const bool     any  = elements[i].type == LLAMA_GRETYPE_CHAR_ANY;
            const bool     span = i + 1 < end && elements[i + 1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
            const uint32_t from = any ? 0 : elements[i].value;
            const uint32_t to   = any ? UINT32_MAX : elements[span ? i + 1 : i].value;
            if (inverse && from <= free && free <= to) {
                if (to >= high) {
                    return -1;
                }
                free    = to + 1;
                changed = true;
            } else if (!inverse && std::max(from, low) <= std::min(to, high)) {
                const int64_t match = std::max(from, low);
                first               = first < 0 ? match : std::min(first, match);
            }
        }
    }
    return inverse ? (int64_t) free : first;
}

void lc_rules::find_classes() {
    classes.push_back(0);
    for (size_t i = 0; i < elements.size(); i++) {
        if (elements[i].type == LLAMA_GRETYPE_CHAR_RNG_UPPER) {
            classes.push_back(elements[i].value + 1);
        } else if (is_character(elements[i].type) && elements[i].type != LLAMA_GRETYPE_CHAR_ANY) {
            classes.push_back(elements[i].value);
            if (elements[i + 1].type != LLAMA_GRETYPE_CHAR_RNG_UPPER) {
                classes.push_back(elements[i].value + 1);
            }
        }
    }
    std::sort(classes.begin(), classes.end());
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    for (uint32_t i = 0; i < 128; i++) {
        ascii[i] = class_beyond_ascii(i);
    }
}

int32_t lc_rules::class_beyond_ascii(uint32_t code_point) const {
    return (int32_t) (std::upper_bound(classes.begin(), classes.end(), code_point) - classes.begin()) - 1;
}

lc_code_points::lc_code_points(uint32_t value, int32_t n_remain) {
    // as llama.cpp decides it: the shortest forms only, no 7-bit character in two bytes
    first = value << (n_remain * 6);
    last  = first | ((1u << (n_remain * 6)) - 1);
    if (n_remain == 1 && value < 2) {
        first = 1;
        last  = 0;
    } else if (first == 0 && n_remain == 2) {
        first = 1u << 11;
    } else if (first == 0 && n_remain == 3) {
        first = 1u << 16;
    }
}
