#include "grammar/closer_endings.h"

#include <algorithm>

namespace {

constexpr int64_t MAX_MORE    = 1;     // tokens that an alternative may take more than the best one
constexpr size_t  MAX_KEPT    = 6;     // endings of one place
constexpr int32_t MAX_BEHIND  = 2;     // tokens that an ending may take more than the best of them
constexpr size_t  MAX_VARIED  = 64;    // texts to join for a rule with several alternatives
constexpr size_t  MAX_WORK    = 20000; // texts to join for one rule, else nothing is weighed
constexpr size_t  MAX_VISITED = 200;   // rules inside an alternative that is weighed
constexpr size_t  MAX_DEPTH   = 400;   // rules inside each other, else nothing is weighed: looks call themselves so deep

} // namespace

lc_closer_endings::lc_closer_endings(std::shared_ptr<const lc_rules>   rules_,
                                     std::shared_ptr<const lc_endings> endings_) :
    rules(std::move(rules_)), endings(std::move(endings_)) {}

bool lc_closer_endings::any() {
    if (!prepared) {
        prepared = true;
        prepare();
    }
    return usable;
}

void lc_closer_endings::prepare() {
    const size_t n   = rules->starts.size();
    const auto   all = endings->read_alternatives();
    alternatives.resize(n);
    refs.resize(n);
    for (const auto & one : all) {
        if (endings->choice[one.rule] == one.start) {
            alternatives[one.rule] = { one.start };
            refs[one.rule]         = one.refs;
        }
    }
    work.assign(n, 0);
    varied.assign(n, 0);
    add_others(all);
    measure();
}

// Adds alternatives that take about as few tokens, as long as no rule comes to contain itself. What may be nothing
// stays nothing.
void lc_closer_endings::add_others(const std::vector<alternative> & all) {
    for (const auto & one : all) {
        const int64_t best = endings->cost[one.rule];
        if (best == 0 || best >= LC_NEVER || endings->choice[one.rule] == one.start ||
            endings->sum_of(one) > best + MAX_MORE || leads_to(one, one.rule)) {
            continue;
        }
        alternatives[one.rule].push_back(one.start);
        refs[one.rule].insert(refs[one.rule].end(), one.refs.begin(), one.refs.end());
    }
}

// Whether a rule is inside an alternative, or may be: not all of a large one is looked at.
bool lc_closer_endings::leads_to(const alternative & one, int32_t rule) const {
    std::vector<int32_t> found = one.refs;
    for (size_t i = 0; i < found.size(); i++) {
        if (found[i] == rule || found.size() > MAX_VISITED) {
            return true;
        }
        for (const int32_t inner : refs[found[i]]) {
            if (std::find(found.begin(), found.end(), inner) == found.end()) {
                found.push_back(inner);
            }
        }
    }
    return false;
}

// From the inside out: how much work each rule is. Of rules with several alternatives that are too much the best one
// is left.
void lc_closer_endings::measure() {
    std::vector<char>                       done(rules->starts.size(), 0);
    std::vector<std::pair<int32_t, size_t>> todo;
    size_t                                  depth = 0;
    size_t                                  most  = 0;
    for (int32_t rule = 0; rule < (int32_t) rules->starts.size(); rule++) {
        todo.assign(1, { rule, 0 });
        while (!todo.empty()) {
            depth                = std::max(depth, todo.size());
            auto & [here, next]  = todo.back();
            const int32_t inside = here;
            if (!done[inside] && next < refs[inside].size()) {
                todo.emplace_back(refs[inside][next++], 0);
                continue;
            }
            todo.pop_back();
            if (!done[inside]) {
                done[inside] = 1;
                work[inside] = work_of(inside);
                if (alternatives[inside].size() > 1 && work[inside] > MAX_VARIED) {
                    alternatives[inside].resize(1);
                    refs[inside].clear();
                    for (int32_t i = alternatives[inside][0]; !rules->is_end(i); i = rules->after(i)) {
                        if (rules->at(i).type == LLAMA_GRETYPE_RULE_REF) {
                            refs[inside].push_back((int32_t) rules->at(i).value);
                        }
                    }
                    work[inside] = work_of(inside);
                }
                varied[inside] = alternatives[inside].size() > 1 ||
                                 std::any_of(refs[inside].begin(), refs[inside].end(),
                                             [&](int32_t inner) { return varied[inner] != 0; });
                most           = std::max(most, work[inside]);
            }
        }
    }
    usable = varied[rules->root] && most <= MAX_WORK && depth <= MAX_DEPTH;
}

size_t lc_closer_endings::work_of(int32_t rule) const {
    size_t sum    = alternatives[rule].size();
    bool   varies = sum > 1;
    for (const int32_t inner : refs[rule]) {
        sum += work[inner];
        varies = varies || varied[inner];
    }
    return varies ? std::min(sum, MAX_WORK + 1) : 0;
}

bool lc_closer_endings::split(int32_t position, std::vector<part> & out) const {
    std::vector<lc_unit> text;
    const auto           end_text = [&] {
        if (!text.empty()) {
            out.push_back({ -1, std::move(text) });
            text.clear();
        }
    };
    for (int32_t i = position; !rules->is_end(i); i = rules->after(i)) {
        if (rules->at(i).type != LLAMA_GRETYPE_RULE_REF) {
            endings->spell_terminal(i, text);
            continue;
        }
        const auto rule = (int32_t) rules->at(i).value;
        if (varied[rule]) {
            end_text();
            out.push_back({ rule, {} });
        } else if (alternatives[rule].empty() || !endings->spell(alternatives[rule][0], text)) {
            return false;
        }
    }
    end_text();
    return true;
}

lc_some_endings lc_closer_endings::before(const std::vector<part> & parts, lc_some_endings rest) const {
    for (auto i = parts.rbegin(); i != parts.rend(); ++i) {
        if (i->rule >= 0) {
            rest = of(i->rule, rest);
            continue;
        }
        for (auto & one : rest) {
            one = endings->join(i->text, one);
        }
    }
    return rest;
}

lc_some_endings lc_closer_endings::of(int32_t rule, const lc_some_endings & rest) const {
    lc_some_endings found;
    for (const int32_t start : alternatives[rule]) {
        std::vector<part> parts;
        if (split(start, parts)) {
            lc_some_endings more = before(parts, rest);
            found.insert(found.end(), more.begin(), more.end());
        }
    }
    keep_few(found);
    return found;
}

void lc_closer_endings::keep_few(lc_some_endings & some) {
    std::stable_sort(some.begin(), some.end(),
                     [](const lc_ending & a, const lc_ending & b) { return a.least() < b.least(); });
    lc_some_endings kept;
    for (auto & one : some) {
        const bool is_new = std::none_of(kept.begin(), kept.end(), [&](const lc_ending & other) {
            return other.head == one.head && other.tokens == one.tokens;
        });
        if (kept.size() == MAX_KEPT || one.least() > some.front().least() + MAX_BEHIND) {
            break;
        }
        if (is_new) {
            kept.push_back(one);
        }
    }
    some = std::move(kept);
}
