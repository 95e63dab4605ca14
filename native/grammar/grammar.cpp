#include "grammar/grammar.h"

#include "grammar/ordinary.h"
#include "llama_cpp/per_process.h"

#include <list>

namespace {

constexpr size_t  MAX_GRAMMARS   = 64;
constexpr size_t  MAX_TEXT_BYTES = 16 << 20; // of all grammars that are kept
constexpr size_t  MAX_BYTES      = 48 << 20; // of an automaton, after which a new one is begun
constexpr int64_t MAX_WORK       = 1000000;  // stacks to make for one token: some tenths of a second
constexpr size_t  MAX_ONLY_BYTES = 256;      // of a text that must come and is looked at together

struct kept_grammar {
    const llama_vocab *         vocab;
    std::string                 root;
    std::string                 text;
    std::shared_ptr<lc_grammar> grammar;
};

struct kept_grammars {
    std::mutex              mutex;
    std::list<kept_grammar> all; // used last first
    size_t                  bytes = 0;
};

lc_per_process<kept_grammars> kept;

std::shared_ptr<lc_grammar> find_kept(const llama_vocab * vocab, const lc_vocabulary & vocabulary, const std::string & text,
                                      const std::string & root) {
    std::lock_guard<std::mutex> lock(kept->mutex);
    for (auto i = kept->all.begin(); i != kept->all.end(); ++i) {
        if (i->vocab == vocab && i->grammar->vocabulary.get() == &vocabulary && i->text == text && i->root == root) {
            kept->all.splice(kept->all.begin(), kept->all, i);
            return i->grammar;
        }
    }
    return nullptr;
}

std::string to_utf8(uint32_t c) {
    if (c < 0x80) {
        return { (char) c };
    }
    if (c < 0x800) {
        return { (char) (0xC0 | (c >> 6)), (char) (0x80 | (c & 0x3F)) };
    }
    if (c < 0x10000) {
        return { (char) (0xE0 | (c >> 12)), (char) (0x80 | ((c >> 6) & 0x3F)), (char) (0x80 | (c & 0x3F)) };
    }
    return { (char) (0xF0 | (c >> 18)), (char) (0x80 | ((c >> 12) & 0x3F)), (char) (0x80 | ((c >> 6) & 0x3F)),
             (char) (0x80 | (c & 0x3F)) };
}

} // namespace

std::shared_ptr<lc_grammar> lc_grammar::of(const llama_vocab * vocab, const std::string & text, const std::string & root) {
    const auto vocabulary = lc_vocabulary::of(vocab);
    if (auto found = find_kept(vocab, *vocabulary, text, root)) {
        return found;
    }
    auto                        made = std::make_shared<lc_grammar>(vocab, text, root);
    std::lock_guard<std::mutex> lock(kept->mutex);
    kept->all.push_front({ vocab, root, text, made });
    kept->bytes += text.size();
    while (kept->all.size() > MAX_GRAMMARS || (kept->bytes > MAX_TEXT_BYTES && kept->all.size() > 1)) {
        kept->bytes -= kept->all.back().text.size();
        kept->all.pop_back();
    }
    return made;
}

void lc_grammar::forget(const llama_vocab * vocab) {
    std::lock_guard<std::mutex> lock(kept->mutex);
    for (auto i = kept->all.begin(); i != kept->all.end();) {
        if (i->vocab == vocab) {
            kept->bytes -= i->text.size();
            i = kept->all.erase(i);
        } else {
            ++i;
        }
    }
}

lc_grammar::lc_grammar(const llama_vocab * vocab, const std::string & text, const std::string & root) :
    vocabulary(lc_vocabulary::of(vocab)),
    rules(std::make_shared<const lc_rules>(vocab, text, root)),
    endings(std::make_shared<const lc_endings>(rules, vocabulary)),
    closer(std::make_shared<lc_closer_endings>(rules, endings)),
    ordinary(vocabulary->ordinary->examples(*rules)),
    newest(make_generation()) {}

std::shared_ptr<lc_grammar::generation> lc_grammar::make_generation() const {
    return std::make_shared<generation>(generation{ lc_automaton(rules, endings, closer, ordinary), {} });
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
           (max_left == INT32_MAX || automaton.least(next, max_left) <= max_left);
}

std::shared_ptr<const lc_mask> lc_cursor::mask(int32_t max_left) {
    const auto lock = begin();
    return generation->masks.at(generation->automaton, *grammar->vocabulary, at, max_left);
}

bool lc_cursor::is_complete() {
    const auto lock = begin();
    return generation->automaton.is_complete(at);
}

int32_t lc_cursor::least(int32_t enough) {
    const auto lock = begin();
    return generation->automaton.least(at, enough);
}

std::string lc_cursor::only_text(std::vector<std::string> & behind) {
    const auto  lock      = begin();
    auto &      automaton = generation->automaton;
    lc_position here      = at;
    std::string text;
    for (int32_t c; text.size() < MAX_ONLY_BYTES && (c = automaton.only(here)) > 0;) {
        const std::string one  = to_utf8((uint32_t) c);
        const lc_position next = automaton.feed(here, one);
        if (!next.alive()) {
            break;
        }
        here = next;
        text += one;
    }
    behind.clear();
    for (const char one : std::string("\" \n\\a1A{}[],:;.-_/<'(")) {
        if (automaton.step(here, (uint8_t) one, false).alive()) {
            behind.emplace_back(1, one);
        }
    }
    if (behind.empty() || automaton.is_complete(here)) {
        behind.emplace_back();
    }
    return text;
}

size_t lc_cursor::count_allowed(const std::vector<llama_token> & tokens, int32_t max_left) {
    const auto  lock = begin();
    lc_position here = at;
    for (size_t i = 0; i < tokens.size(); i++) {
        auto &            automaton = generation->automaton;
        const lc_position next      = automaton.accept(here, tokens[i], grammar->vocabulary->pieces[tokens[i]]);
        if (!next.alive() || !automaton.may_pause(next) ||
            (max_left != INT32_MAX && automaton.least(next, max_left - (int32_t) i) > max_left - (int32_t) i)) {
            return i;
        }
        here = next;
    }
    return tokens.size();
}
