#include "grammar/forced.h"

#include "common.h"

#include <algorithm>

namespace {

// A shorter text is a token that may be cut in another way.
constexpr size_t least_bytes = 3;

// The text of the last tokens, up to one that is no text.
std::string text_of_last(const lc_vocabulary & vocabulary, const std::vector<llama_token> & tokens) {
    auto first = tokens.end();
    while (first != tokens.begin() && !vocabulary.pieces.at(*(first - 1)).empty()) {
        --first;
    }
    std::string text;
    for (; first != tokens.end(); ++first) {
        text += vocabulary.pieces.at(*first);
    }
    size_t cut = 0; // to the beginning of a character
    while (cut < text.size() && ((uint8_t) text[cut] >> 6) == 2) {
        cut++;
    }
    return text.substr(cut);
}

// The tokens of `text` between `before` and `behind`, if one begins where it begins; those that end behind it are
// left out.
std::vector<llama_token> tokens_between(const llama_vocab * vocab, const lc_vocabulary & vocabulary,
                                        const std::string & before, const std::string & text, const std::string & behind) {
    const auto all   = common_tokenize(vocab, before + text + behind, false, false);
    size_t     bytes = 0;
    for (const llama_token token : all) {
        bytes += vocabulary.pieces.at(token).size();
    }
    std::vector<llama_token> found;
    if (bytes < text.size() + behind.size()) {
        return found;
    }
    // counted from the end: some tokenizers put a space before the whole
    const size_t begin = bytes - text.size() - behind.size();
    size_t       at    = 0;
    for (const llama_token token : all) {
        const std::string & piece = vocabulary.pieces.at(token);
        const size_t        end   = at + piece.size();
        const bool          is_in = at >= begin && end <= begin + text.size();
        if ((at < begin && end > begin) || (is_in && (piece.empty() || text.compare(at - begin, piece.size(), piece) != 0))) {
            return {};
        }
        if (is_in) {
            found.push_back(token);
        }
        at = end;
    }
    return found;
}

} // namespace

std::vector<llama_token> lc_forced_tokens(lc_cursor & cursor, const llama_vocab * vocab,
                                          const std::vector<llama_token> & before, int32_t max_left) {
    std::vector<std::string> behind;
    const std::string        text = cursor.only_text(behind);
    if (text.size() < least_bytes) {
        return {};
    }
    const auto &             vocabulary = cursor.vocabulary();
    const std::string        start      = text_of_last(vocabulary, before);
    std::vector<llama_token> tokens     = tokens_between(vocab, vocabulary, start, text, behind.front());
    for (size_t i = 1; i < behind.size() && !tokens.empty(); i++) {
        const auto others = tokens_between(vocab, vocabulary, start, text, behind[i]);
        const auto end    = tokens.begin() + (std::ptrdiff_t) std::min(tokens.size(), others.size());
        tokens.erase(std::mismatch(tokens.begin(), end, others.begin()).first, tokens.end());
    }
    size_t bytes = 0;
    for (const llama_token token : tokens) {
        bytes += vocabulary.pieces.at(token).size();
    }
    if (!tokens.empty() && bytes == text.size()) {
        tokens.pop_back(); // more than one character behind it might still be one token with it
    }
    tokens.resize(cursor.count_allowed(tokens, max_left));
    return tokens;
}
