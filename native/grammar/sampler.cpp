#include "grammar/sampler.h"

#include "grammar/counter.h"
#include "grammar/forced.h"
#include "grammar/grammar.h"
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

struct triggers {
    bool                                        awaited = false; // the grammar does not hold yet
    std::vector<llama_token>                    tokens;
    std::vector<llama_grammar_trigger_pattern>  patterns;
    std::string                                 text;      // what was generated while waiting
    std::vector<std::pair<llama_token, size_t>> generated; // the tokens, and where the text of each ends
};

struct sampler : lc_writer {
    lc_cursor                      cursor;
    triggers                       trigger;
    const llama_vocab *            vocab;
    std::shared_ptr<lc_constraint> constraint;
    std::shared_ptr<lc_progress>   made     = std::make_shared<lc_progress>();
    int32_t                        n_left   = -1; // tokens that may still come, for samplers without a constraint
    bool                           given_up = false;
    bool                           hopeless = false; // even a close look found no way to end within the budget
    std::vector<llama_token>       forced; // those that must come next, if is_known
    bool                           is_known = false;

    sampler(std::shared_ptr<lc_grammar> grammar, const llama_vocab * vocab_) : cursor(std::move(grammar)), vocab(vocab_) {
        made->writer = this;
    }
    sampler(const sampler & other)             = default;
    sampler & operator=(const sampler & other) = default;
    ~sampler() override {
        if (made->writer == this) {
            made->writer = nullptr;
        }
    }

    void    accept(llama_token token);
    void    apply(llama_token_data_array & candidates);
    int32_t max_left();
    // The tokens that must come next, as far as that is known.
    const std::vector<llama_token> & must_come() override;

  private:
    void                       accept_awaiting(llama_token token);
    void                       accept_text(llama_token token, const std::string & text);
    void                       replay(size_t start);
    void                       mark(llama_token_data_array & candidates);
    void                       keep(llama_token_data_array & candidates, const lc_mask & mask);
    void                       keep_few(llama_token_data_array & candidates, const lc_mask & mask);
    bool                       keep_one(llama_token_data_array & candidates, llama_token token);
    template <typename F> void guarded(F && work);
};

// Moves the tokens with a bit to the front, in their order; how many they are.
size_t keep_bits(llama_token_data * tokens, const std::vector<uint64_t> & bits) {
    size_t n = 0;
    for (size_t i = 0; i < bits.size(); i++) {
        const llama_token_data * from = tokens + i * 64;
        if (bits[i] == UINT64_MAX) {
            std::memmove(tokens + n, from, 64 * sizeof(*from));
            n += 64;
            continue;
        }
        for (uint64_t left = bits[i]; left != 0; left >>= 1, from++) {
            if (left & 1) {
                tokens[n++] = *from;
            }
        }
    }
    return n;
}

// How many tokens may follow the next one, such that the answer can still end.
int32_t sampler::max_left() {
    const bool bounded = constraint && constraint->budget >= 0;
    if (!bounded && n_left < 0) {
        return INT32_MAX;
    }
    const int32_t left  = bounded ? constraint->budget - made->n_generated : n_left;
    const int32_t least = cursor.least(hopeless ? INT32_MAX : left);
    // without the token that ends the generation it may fit; else there is no way
    hopeless = least - 1 > left;
    if (least <= left) {
        return left - 1;
    }
    return hopeless ? INT32_MAX : left;
}

// What goes wrong while an engine samples ends that generation and nothing else.
template <typename F> void sampler::guarded(F && work) {
    if (!constraint) {
        work();
        return;
    }
    try {
        work();
    } catch (const std::exception & error) {
        constraint->fail(error.what());
        given_up = true;
    }
}

const std::vector<llama_token> & sampler::must_come() {
    if (!is_known) {
        is_known = true;
        forced.clear();
        if (constraint && !trigger.awaited && !given_up && made->is_whole) {
            try {
                forced = lc_forced_tokens(cursor, vocab, made->last, max_left());
            } catch (const lc_grammar_error &) { // nothing is known, then
            }
        }
    }
    return forced;
}

void sampler::accept(llama_token token) {
    if (!forced.empty() && forced.front() == token) {
        forced.erase(forced.begin());
        is_known = !forced.empty();
    } else {
        is_known = false;
    }
    guarded([&] {
        if (given_up) {
            return;
        }
        if (trigger.awaited) {
            accept_awaiting(token);
        } else {
            accept_text(token, cursor.vocabulary().pieces.at(token));
        }
    });
}

void sampler::accept_text(llama_token token, const std::string & text) {
    if (cursor.vocabulary().is_eog(token)) {
        if (!cursor.is_complete()) {
            throw lc_grammar_error("the generation ended where the grammar does not end");
        }
    } else if (!text.empty()) {
        cursor.accept(token, text);
    }
}

void sampler::accept_awaiting(llama_token token) {
    const std::string & text = cursor.vocabulary().pieces.at(token);
    if (std::find(trigger.tokens.begin(), trigger.tokens.end(), token) != trigger.tokens.end()) {
        trigger.awaited = false;
        trigger.text.clear();
        accept_text(token, text);
        return;
    }
    trigger.text += text;
    trigger.generated.emplace_back(token, trigger.text.size());
    for (const auto & pattern : trigger.patterns) {
        const size_t start = pattern.find(trigger.text);
        if (start != std::string::npos) {
            trigger.awaited = false;
            replay(start);
            return;
        }
    }
}

// Reads what was generated from `start` on by the grammar.
void sampler::replay(size_t start) {
    size_t begin = 0;
    for (const auto & [token, end] : trigger.generated) {
        if (end > start) {
            const size_t from = std::max(begin, start);
            accept_text(token, trigger.text.substr(from, end - from));
        }
        begin = end;
    }
    trigger.text.clear();
    trigger.generated.clear();
}

void sampler::apply(llama_token_data_array & candidates) {
    if (trigger.awaited) {
        return;
    }
    guarded([&] {
        if (given_up) {
            return;
        }
        if (const auto & next = must_come(); !next.empty() && keep_one(candidates, next.front())) {
            return;
        }
        if (candidates.size == 1) {
            if (!cursor.allows(candidates.data[0].id, max_left())) {
                candidates.data[0].logit = -INFINITY;
            }
        } else if (!constraint) {
            mark(candidates);
        } else {
            const auto mask = cursor.mask(max_left());
            if (mask->count == 0 && !mask->ends) {
                throw lc_grammar_error("no token of this model goes on with what the grammar allows");
            }
            keep(candidates, *mask);
        }
    });
    if (given_up) {
        lc_mask only_ends;
        only_ends.ends = true;
        if (candidates.size > 1) {
            keep(candidates, only_ends);
        } else if (!cursor.vocabulary().is_eog(candidates.data[0].id)) {
            candidates.data[0].logit = -INFINITY;
        }
    }
}

// As llama.cpp does it: what is forbidden stays, and cannot be chosen.
void sampler::mark(llama_token_data_array & candidates) {
    const auto mask = cursor.mask(max_left());
    for (size_t i = 0; i < candidates.size; i++) {
        const llama_token id = candidates.data[i].id;
        if (cursor.vocabulary().is_eog(id) ? !mask->ends : !mask->has(id)) {
            candidates.data[i].logit = -INFINITY;
        }
    }
}

// Leaves one token, or forbids the only one if it is another; false if it is not among several.
bool sampler::keep_one(llama_token_data_array & candidates, llama_token token) {
    const auto end   = candidates.data + candidates.size;
    const auto found = std::find_if(candidates.data, end, [&](const auto & one) { return one.id == token; });
    if (found != end) {
        candidates.data[0] = *found;
    } else if (candidates.size == 1) {
        candidates.data[0].logit = -INFINITY;
    } else {
        return false;
    }
    candidates.size = 1;
    return true;
}

// Leaves only what is allowed, so that the samplers after it have little to do.
void sampler::keep(llama_token_data_array & candidates, const lc_mask & mask) {
    const auto & vocabulary = cursor.vocabulary();
    const bool   by_id      = candidates.size == (size_t) vocabulary.size() && !candidates.sorted;
    if (by_id && mask.bits.empty()) {
        keep_few(candidates, mask);
        return;
    }
    if (by_id) {
        candidates.size = keep_bits(candidates.data, mask.bits);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < candidates.size; i++) {
        const llama_token id = candidates.data[i].id;
        if (vocabulary.is_eog(id) ? mask.ends : mask.has(id)) {
            candidates.data[n++] = candidates.data[i];
        }
    }
    candidates.size = n;
}

void sampler::keep_few(llama_token_data_array & candidates, const lc_mask & mask) {
    std::vector<llama_token_data> kept;
    for (const llama_token id : mask.few) {
        kept.push_back(candidates.data[id]);
    }
    if (mask.ends) {
        for (const llama_token id : cursor.vocabulary().eog_tokens) {
            kept.push_back(candidates.data[id]);
        }
    }
    std::copy(kept.begin(), kept.end(), candidates.data);
    candidates.size = kept.size();
}

// llama.cpp's interface of a sampler

sampler & of(const llama_sampler * smpl) { return *(sampler *) smpl->ctx; }

void copy_state(const llama_sampler * from, llama_sampler * to) {
    auto own    = of(to).made; // the counter beside it has its own copy
    of(to)      = of(from);
    of(to).made = own;
}

llama_sampler * clone(const llama_sampler * smpl);

void reset(llama_sampler * smpl) {
    auto & s = of(smpl);
    s.cursor.restart();
    s.given_up        = false;
    s.hopeless        = false;
    s.is_known        = false;
    s.trigger.awaited = !s.trigger.tokens.empty() || !s.trigger.patterns.empty();
    s.trigger.text.clear();
    s.trigger.generated.clear();
}

llama_sampler_i make_interface() {
    llama_sampler_i made = {};
    made.name            = [](const llama_sampler *) { return "grammar"; };
    made.accept          = [](llama_sampler * smpl, llama_token token) { of(smpl).accept(token); };
    made.apply           = [](llama_sampler * smpl, llama_token_data_array * candidates) { of(smpl).apply(*candidates); };
    made.reset           = reset;
    made.clone           = clone;
    made.free            = [](llama_sampler * smpl) { delete (sampler *) smpl->ctx; };
    made.copy_state      = copy_state;
    return made;
}

llama_sampler_i grammar_interface = make_interface();

llama_sampler * clone(const llama_sampler * smpl) {
    auto * cloned        = new sampler(of(smpl));
    cloned->made         = std::make_shared<lc_progress>(*cloned->made);
    cloned->made->writer = cloned;
    return llama_sampler_init(&grammar_interface, cloned);
}

} // namespace

namespace {

thread_local llama_sampler * newest = nullptr; // the grammar sampler that this thread made last

llama_sampler * make(const llama_vocab * vocab, const char * text, const char * root) {
    std::string grammar    = text;
    auto        constraint = lc_constraint::of(grammar);
    auto        made       = std::make_unique<sampler>(lc_grammar::of(vocab, grammar, root), vocab);
    made->constraint       = std::move(constraint);
    return newest          = llama_sampler_init(&grammar_interface, made.release());
}

} // namespace

extern "C" llama_sampler * lc_llama_sampler_init_grammar(const llama_vocab * vocab, const char * text, const char * root) {
    return make(vocab, text, root);
}

extern "C" llama_sampler * lc_llama_sampler_init_grammar_lazy_patterns(
    const llama_vocab * vocab, const char * text, const char * root, const char ** trigger_patterns, size_t n_patterns,
    const llama_token * trigger_tokens, size_t n_tokens) {
    llama_sampler * made    = make(vocab, text, root);
    auto &          trigger = of(made).trigger;
    trigger.awaited         = true;
    trigger.tokens.assign(trigger_tokens, trigger_tokens + n_tokens);
    for (size_t i = 0; i < n_patterns; i++) {
        trigger.patterns.push_back({ trigger_patterns[i], std::regex(trigger_patterns[i]) });
    }
    return made;
}

void lc_limit_tokens(llama_sampler * chain, int32_t n_left) {
    for (int i = 0; i < llama_sampler_chain_n(chain); i++) {
        const llama_sampler * part = llama_sampler_chain_get(chain, i);
        if (part->iface == &grammar_interface) {
            auto & s   = of(part);
            s.hopeless = s.hopeless && n_left >= 0 && n_left < s.n_left;
            s.n_left   = n_left;
        }
    }
}

common_sampler * lc_common_sampler_init(const llama_model * model, common_params_sampling & params) {
    newest                = nullptr;
    common_sampler * made = common_sampler_init(model, params);
    if (newest) {
        // what bounds the reasoning may take the grammar's place, and a bias forbids tokens
        const bool is_reasoning   = !params.reasoning_budget_start.empty() && !params.reasoning_budget_end.empty();
        of(newest).made->is_whole = !is_reasoning && params.logit_bias.empty();
        llama_sampler_chain_add(common_sampler_get(made), lc_new_counter(of(newest).made));
    }
    return made;
}
