#include "grammar/automaton.h"

#include <algorithm>

namespace {

constexpr size_t MAX_EXPANDED = 100000; // stacks that one stack becomes: more come of rules that begin with themselves

} // namespace

lc_automaton::lc_automaton(std::shared_ptr<const lc_rules> rules_, std::shared_ptr<const lc_endings> endings_,
                           std::shared_ptr<lc_closer_endings> closer_, std::vector<uint32_t> ordinary_) :
    rules(std::move(rules_)), endings(std::move(endings_)), closer(std::move(closer_)), ordinary(std::move(ordinary_)) {
    stacks.push_back({ -1, 0 });
    seen.push_back(0);
}

void lc_automaton::spend(size_t amount) {
    work -= (int64_t) amount;
    if (work < 0) {
        throw lc_grammar_error(
            "the grammar leaves too many ways to read one text: make optional and repeated parts differ in how they begin");
    }
}

lc_position lc_automaton::start() {
    std::vector<int32_t> found;
    round++;
    for (int32_t i = rules->starts[rules->root]; i >= 0; i = rules->next_alternative(i)) {
        collect(rules->is_end(i) ? 0 : push(i, 0), found);
    }
    return { state_of(std::move(found)), 0, 0 };
}

int32_t lc_automaton::push(int32_t position, int32_t under) {
    const uint64_t key           = ((uint64_t) (uint32_t) position << 32) | (uint32_t) under;
    const auto [found, inserted] = stack_ids.try_emplace(key, (int32_t) stacks.size());
    if (inserted) {
        stacks.push_back({ position, under });
        seen.push_back(0);
        n_bytes += 80;
    }
    return found->second;
}

int32_t lc_automaton::advanced(int32_t stack_id, int32_t position) {
    const int32_t under = stacks[stack_id].under;
    return rules->is_end(position) ? under : push(position, under);
}

// Replaces rules on top of a stack by their alternatives, until terminals are on top.
const std::vector<int32_t> & lc_automaton::terminals(int32_t stack_id) {
    const auto known = expanded.find(stack_id);
    if (known != expanded.end()) {
        return known->second;
    }
    std::vector<int32_t>              out;
    std::vector<int32_t>              todo = { stack_id };
    std::unordered_map<int32_t, bool> met  = { { stack_id, true } };
    while (!todo.empty()) {
        const int32_t top = todo.back();
        todo.pop_back();
        spend(met.size() > MAX_EXPANDED ? SIZE_MAX / 2 : 1);
        const int32_t position = stacks[top].position;
        if (top == 0 || rules->at(position).type != LLAMA_GRETYPE_RULE_REF) {
            out.push_back(top);
            continue;
        }
        const int32_t under = advanced(top, position + 1);
        for (int32_t i = rules->starts[rules->at(position).value]; i >= 0; i = rules->next_alternative(i)) {
            const int32_t next = rules->is_end(i) ? under : push(i, under);
            if (met.try_emplace(next, true).second) {
                todo.push_back(next);
            }
        }
    }
    n_bytes += 64 + out.size() * sizeof(int32_t);
    return expanded.emplace(stack_id, std::move(out)).first->second;
}

void lc_automaton::collect(int32_t stack_id, std::vector<int32_t> & out) {
    if (stack_id == 0 || rules->at(stacks[stack_id].position).type != LLAMA_GRETYPE_RULE_REF) {
        if (seen[stack_id] != round) {
            seen[stack_id] = round;
            out.push_back(stack_id);
        }
        return;
    }
    const auto & all = terminals(stack_id);
    spend(all.size());
    for (const int32_t found : all) {
        if (seen[found] != round) {
            seen[found] = round;
            out.push_back(found);
        }
    }
}

int32_t lc_automaton::state_of(std::vector<int32_t> found) {
    if (found.empty()) {
        return -1;
    }
    std::sort(found.begin(), found.end());
    const auto [known, inserted] = state_ids.try_emplace(std::move(found), (int32_t) states.size());
    if (inserted) {
        state made;
        made.stacks   = known->first;
        made.complete = made.stacks.front() == 0;
        made.next.assign(rules->classes.size(), UNKNOWN);
        for (const int32_t id : made.stacks) {
            made.wants_token = made.wants_token || (id != 0 && rules->is_token(stacks[id].position));
        }
        n_bytes += 160 + made.stacks.size() * 2 * sizeof(int32_t) + made.next.size() * sizeof(int32_t);
        states.push_back(std::move(made));
    }
    return known->second;
}

int32_t lc_automaton::follow(int32_t from, uint32_t code_point) {
    const int32_t kind = rules->class_of(code_point);
    if (const int32_t known = states[from].next[kind]; known != UNKNOWN) {
        return known;
    }
    std::vector<int32_t> found;
    round++;
    spend(states[from].stacks.size() / 8); // to look at one is cheap
    for (size_t i = 0; i < states[from].stacks.size(); i++) {
        const int32_t id       = states[from].stacks[i];
        const int32_t position = stacks[id].position;
        if (id != 0 && !rules->is_token(position) && rules->matches(position, code_point)) {
            collect(advanced(id, rules->after(position)), found);
        }
    }
    const int32_t next      = state_of(std::move(found));
    states[from].next[kind] = next;
    return next;
}

bool lc_automaton::may_become(int32_t from, uint32_t value, int32_t n_remain) const {
    const lc_code_points range(value, n_remain);
    for (const int32_t id : states[from].stacks) {
        if (id != 0 && !rules->is_token(stacks[id].position) &&
            rules->first_match(stacks[id].position, range.first, range.last) >= 0) {
            return true;
        }
    }
    return false;
}

bool lc_automaton::may_pause(const lc_position & at) const {
    if (at.n_remain == 0) {
        return true;
    }
    const lc_code_points range(at.value, at.n_remain);
    for (const int32_t id : states[at.state].stacks) {
        if (id != 0 && !rules->is_token(stacks[id].position) &&
            rules->may_match(stacks[id].position, range.first, range.last)) {
            return true;
        }
    }
    return false;
}

lc_position lc_automaton::step(const lc_position & at, uint8_t byte, bool strict) {
    lc_position next = at;
    if (at.n_remain > 0) {
        if (strict && (byte >> 6) != 2) {
            return {};
        }
        next.value    = (at.value << 6) | (byte & 0x3F);
        next.n_remain = at.n_remain - 1;
    } else if (byte < 0x80) {
        next.value = byte;
    } else if (byte < 0xC0) {
        return {};
    } else {
        next.n_remain = byte < 0xE0 ? 1 : byte < 0xF0 ? 2
                                                      : 3;
        next.value    = byte & ((1 << (7 - next.n_remain)) - 1);
    }
    if (next.n_remain > 0) {
        return may_become(at.state, next.value, next.n_remain) ? next : lc_position{};
    }
    return { next.value == 0 ? -1 : follow(at.state, next.value), 0, 0 };
}

bool lc_automaton::step_ordinary(lc_position & at) {
    if (at.n_remain != 0) {
        return false;
    }
    if (states[at.state].ordinary == UNKNOWN) {
        int32_t found = ordinary.empty() ? SEVERAL : follow(at.state, ordinary.front());
        for (size_t i = 1; i < ordinary.size() && found != SEVERAL; i++) {
            found = follow(at.state, ordinary[i]) == found ? found : SEVERAL;
        }
        states[at.state].ordinary = found;
    }
    if (states[at.state].ordinary == SEVERAL) {
        return false;
    }
    at = { states[at.state].ordinary, 0, 0 };
    return true;
}

bool lc_automaton::takes_token(const lc_position & at, llama_token token) const {
    if (at.n_remain != 0) {
        return false;
    }
    for (const int32_t id : states[at.state].stacks) {
        if (id != 0 && rules->is_token(stacks[id].position) && rules->matches_token(stacks[id].position, token)) {
            return true;
        }
    }
    return false;
}

int32_t lc_automaton::follow_token(int32_t from, llama_token token) {
    std::vector<int32_t> found;
    round++;
    for (size_t i = 0; i < states[from].stacks.size(); i++) {
        const int32_t id       = states[from].stacks[i];
        const int32_t position = stacks[id].position;
        if (id != 0 && rules->is_token(position) && rules->matches_token(position, token)) {
            collect(advanced(id, rules->after(position)), found);
        }
    }
    return state_of(std::move(found));
}

lc_position lc_automaton::feed(const lc_position & at, const std::string & text) {
    lc_position  next = at;
    const size_t rest = (size_t) at.n_remain;
    for (size_t i = 0; i < text.size() && next.alive(); i++) {
        next = step(next, (uint8_t) text[i], i < rest);
    }
    return next;
}

lc_position lc_automaton::accept(const lc_position & at, llama_token token, const std::string & text) {
    const lc_position next = feed(at, text);
    if (!wants_token(at) || !takes_token(at, token)) {
        return next;
    }
    const int32_t named = follow_token(at.state, token);
    if (named < 0 || !next.alive() || next.n_remain != 0) {
        return { named, 0, 0 };
    }
    std::vector<int32_t> both = states[named].stacks;
    both.insert(both.end(), states[next.state].stacks.begin(), states[next.state].stacks.end());
    std::sort(both.begin(), both.end());
    both.erase(std::unique(both.begin(), both.end()), both.end());
    return { state_of(std::move(both)), 0, 0 };
}

lc_position lc_automaton::take_over(const lc_automaton & other, const lc_position & at) {
    std::unordered_map<int32_t, int32_t> own = { { 0, 0 } };
    std::vector<int32_t>                 found;
    for (const int32_t id : other.states[at.state].stacks) {
        std::vector<int32_t> path;
        for (int32_t i = id; own.count(i) == 0; i = other.stacks[i].under) {
            path.push_back(i);
        }
        for (; !path.empty(); path.pop_back()) {
            const stack & there = other.stacks[path.back()];
            own[path.back()]    = push(there.position, own[there.under]);
        }
        found.push_back(own[id]);
    }
    return { state_of(std::move(found)), at.value, at.n_remain };
}

int32_t lc_automaton::only(const lc_position & at) const {
    const state & here = states[at.state];
    if (at.n_remain != 0 || here.complete || here.wants_token) {
        return -1;
    }
    int64_t found = -1;
    for (const int32_t id : here.stacks) {
        const int32_t position = stacks[id].position;
        const auto &  element  = rules->at(position);
        if (element.type != LLAMA_GRETYPE_CHAR || rules->after(position) != position + 1 ||
            (found >= 0 && found != element.value)) {
            return -1;
        }
        found = element.value;
    }
    return (int32_t) found;
}

const lc_ending & lc_automaton::ending(int32_t stack_id) {
    std::vector<int32_t> missing;
    for (int32_t i = stack_id; known_endings.count(i) == 0; i = stacks[i].under) {
        missing.push_back(i);
        if (i == 0) {
            break;
        }
    }
    for (; !missing.empty(); missing.pop_back()) {
        const int32_t id   = missing.back();
        auto          made = std::make_unique<lc_ending>(
            id == 0 ? lc_endings::nothing() : endings->from(stacks[id].position, *known_endings.at(stacks[id].under)));
        n_bytes += 128 + made->head.size() * 8;
        known_endings.emplace(id, std::move(made));
    }
    return *known_endings.at(stack_id);
}

const lc_some_endings & lc_automaton::closer_endings(int32_t stack_id) {
    // from the bottom up: an answer can nest as deeply as it is long
    std::vector<int32_t> missing;
    for (int32_t i = stack_id; known_closer.count(i) == 0; i = stacks[i].under) {
        missing.push_back(i);
        if (i == 0) {
            break;
        }
    }
    for (; !missing.empty(); missing.pop_back()) {
        auto made = std::make_unique<lc_some_endings>(find_closer_endings(missing.back()));
        n_bytes += 128 + made->size() * 320;
        known_closer.emplace(missing.back(), std::move(made));
    }
    return *known_closer.at(stack_id);
}

// Those of what a stack lies on are known. It calls itself through rules that end with others alone, whose depth is bounded.
lc_some_endings lc_automaton::find_closer_endings(int32_t stack_id) {
    if (stack_id == 0) {
        return { lc_endings::nothing() };
    }
    const stack                          here = stacks[stack_id];
    std::vector<lc_closer_endings::part> parts;
    lc_some_endings                      found;
    const bool                           ends = closer->split(here.position, parts);
    if (ends && !parts.empty() && parts.back().rule >= 0) {
        // what many rules end with is looked at once
        for (const int32_t start : closer->weighed(parts.back().rule)) {
            const auto & more = closer_endings(rules->is_end(start) ? here.under : push(start, here.under));
            found.insert(found.end(), more.begin(), more.end());
        }
        closer->keep_few(found);
        parts.pop_back();
    } else if (ends) {
        found = *known_closer.at(here.under);
    }
    return closer->before(parts, std::move(found));
}

int32_t lc_automaton::least(const lc_position & at, int32_t enough) {
    const int32_t roughly = roughly_least(at);
    return roughly <= enough || !closer->any() ? roughly : std::min(roughly, closely_least(at));
}

int32_t lc_automaton::closely_least(const lc_position & at) {
    if (at.n_remain == 0 && states[at.state].closest >= 0) {
        return states[at.state].closest;
    }
    int32_t              best = LC_NEVER;
    const lc_code_points range(at.value, at.n_remain);
    for (size_t i = 0; i < states[at.state].stacks.size(); i++) {
        const int32_t id       = states[at.state].stacks[i];
        const int32_t position = stacks[id].position;
        if (at.n_remain == 0) {
            for (const auto & one : closer_endings(id)) {
                best = std::min(best, one.least());
            }
        } else if (id != 0 && !rules->is_token(position) && rules->first_match(position, range.first, range.last) >= 0) {
            for (const auto & rest : closer_endings(advanced(id, rules->after(position)))) {
                best = std::min(best, endings->character(position, at.value, at.n_remain, rest).least());
            }
        }
    }
    if (at.n_remain == 0) {
        states[at.state].closest = best;
    }
    return best;
}

int32_t lc_automaton::roughly_least(const lc_position & at) {
    if (at.n_remain == 0 && states[at.state].least >= 0) {
        return states[at.state].least;
    }
    int32_t              best = LC_NEVER;
    const lc_code_points range(at.value, at.n_remain);
    for (size_t i = 0; i < states[at.state].stacks.size(); i++) {
        const int32_t id = states[at.state].stacks[i];
        if (at.n_remain == 0) {
            best = std::min(best, ending(id).least());
        } else if (id != 0 && !rules->is_token(stacks[id].position) &&
                   rules->first_match(stacks[id].position, range.first, range.last) >= 0) {
            const int32_t position = stacks[id].position;
            const auto &  rest     = ending(advanced(id, rules->after(position)));
            best                   = std::min(best, endings->character(position, at.value, at.n_remain, rest).least());
        }
    }
    if (at.n_remain == 0) {
        states[at.state].least = best;
    }
    return best;
}
