#include "grammar/grammar.h"

#include <list>

namespace {

constexpr size_t  MAX_GRAMMARS   = 64;
constexpr size_t  MAX_TEXT_BYTES = 16 << 20; // of all grammars that are kept
constexpr size_t  MAX_BYTES      = 48 << 20; // of an automaton, after which a new one is begun
constexpr int64_t MAX_WORK       = 1000000;  // stacks to make for one token: some tenths of a second

struct kept_grammar {
    const llama_vocab *         vocab;
    std::string                 root;
    std::string                 text;
    std::shared_ptr<lc_grammar> grammar;
};

std::mutex              kept_mutex;
std::list<kept_grammar> kept; // used last first
size_t                  kept_bytes = 0;

std::shared_ptr<lc_grammar> find_kept(const llama_vocab * vocab, const lc_vocabulary & vocabulary, const std::string & text,
                                      const std::string & root) {
    std::lock_guard<std::mutex> lock(kept_mutex);
    for (auto i = kept.begin(); i != kept.end(); ++i) {
        if (i->vocab == vocab && i->grammar->vocabulary.get() == &vocabulary && i->text == text && i->root == root) {
            kept.splice(kept.begin(), kept, i);
            return i->grammar;
        }
    }
    return nullptr;
}

} // namespace

std::shared_ptr<lc_grammar> lc_grammar::of(const llama_vocab * vocab, const std::string & text, const std::string & root) {
    const auto vocabulary = lc_vocabulary::of(vocab);
    if (auto found = find_kept(vocab, *vocabulary, text, root)) {
        return found;
    }
    auto                        made = std::make_shared<lc_grammar>(vocab, text, root);
    std::lock_guard<std::mutex> lock(kept_mutex);
    kept.push_front({ vocab, root, text, made });
    kept_bytes += text.size();
    while (kept.size() > MAX_GRAMMARS || (kept_bytes > MAX_TEXT_BYTES && kept.size() > 1)) {
        kept_bytes -= kept.back().text.size();
        kept.pop_back();
    }
    return made;
}

void lc_grammar::forget(const llama_vocab * vocab) {
    std::lock_guard<std::mutex> lock(kept_mutex);
    for (auto i = kept.begin(); i != kept.end();) {
        if (i->vocab == vocab) {
            kept_bytes -= i->text.size();
            i = kept.erase(i);
        } else {
            ++i;
        }
    }
}

lc_grammar::lc_grammar(const llama_vocab * vocab, const std::string & text, const std::string & root) :
    vocabulary(lc_vocabulary::of(vocab)),
    rules(std::make_shared<const lc_rules>(vocab, text, root)),
    endings(std::make_shared<const lc_endings>(rules, vocabulary)),
    newest(make_generation()) {}

std::shared_ptr<lc_grammar::generation> lc_grammar::make_generation() const {
    return std::make_shared<generation>(generation{ lc_automaton(rules, endings), {} });
}

lc_cursor::lc_cursor(std::shared_ptr<lc_grammar> grammar_) : grammar(std::move(grammar_)) { restart(); }

std::unique_lock<std::mutex> lc_cursor::begin() {
    std::unique_lock<std::mutex> lock(grammar->mutex);
    if (!generation) {
        generation = grammar->newest;
    }
    generation->automaton.allow_work(MAX_WORK);
    return lock;
}

void lc_cursor::restart() {
    generation.reset();
    const auto lock = begin();
    at              = generation->automaton.start();
    if (!at.alive()) {
        throw lc_grammar_error("the grammar allows no text at all");
    }
}

void lc_cursor::renew() {
    if (grammar->newest->automaton.bytes() > MAX_BYTES) {
        grammar->newest = grammar->make_generation();
    }
    if (generation != grammar->newest && generation->automaton.bytes() > MAX_BYTES) {
        at         = grammar->newest->automaton.take_over(generation->automaton, at);
        generation = grammar->newest;
    }
}

void lc_cursor::accept(llama_token token, const std::string & text) {
    const auto        lock = begin();
    const lc_position next = generation->automaton.accept(at, token, text);
    if (!next.alive()) {
        throw lc_grammar_error("the grammar does not allow token " + std::to_string(token) + ": " + text);
    }
    at = next;
    renew();
}

bool lc_cursor::allows(llama_token token, int32_t max_left) {
    if (token < 0 || token >= grammar->vocabulary->size()) {
        return false;
    }
    const auto lock = begin();
    if (grammar->vocabulary->is_eog(token)) {
        return generation->automaton.is_complete(at);
    }
    const std::string & text = grammar->vocabulary->pieces[token];
    if (text.empty()) {
        return false;
    }
    auto &            automaton = generation->automaton;
    const lc_position next      = grammar->vocabulary->named[token] ? automaton.accept(at, token, text) : automaton.feed(at, text);
    return next.alive() && automaton.may_pause(next) &&
           (max_left == INT32_MAX || automaton.least(next) <= max_left);
}

std::shared_ptr<const lc_mask> lc_cursor::mask(int32_t max_left) {
    const auto lock  = begin();
    auto       known = generation->masks.at(generation->automaton, *grammar->vocabulary, at);
    if (known->farthest <= max_left) {
        return known;
    }
    return std::make_shared<const lc_mask>(lc_make_mask(generation->automaton, *grammar->vocabulary, at, max_left));
}

bool lc_cursor::is_complete() {
    const auto lock = begin();
    return generation->automaton.is_complete(at);
}

int32_t lc_cursor::least() {
    const auto lock = begin();
    return generation->automaton.least(at);
}
