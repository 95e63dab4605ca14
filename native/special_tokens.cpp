// Control tokens in a rendered prompt: where they are, and which of them the template wrote.
#include "render.h"

#include "common.h"
#include "llama.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace {

bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// Whether a value is a word of the request's form, or encoded media: without room for a control token.
bool is_plain(const std::string & key, const json & value) {
    const bool is_word = key == "role" || key == "type";
    if ((!is_word && key != "url" && key != "data") || !value.is_string()) {
        return false;
    }
    const std::string text  = value.get<std::string>();
    const char *      known = is_word ? "_" : "+/=:;,.-_";
    return (is_word || text.compare(0, 5, "data:") == 0) && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
               return std::isalnum(c) || (c != 0 && std::strchr(known, c) != nullptr);
           });
}

} // namespace

lc_special_tokens::lc_special_tokens(const llama_vocab * vocab) {
    const int32_t n = llama_vocab_n_tokens(vocab);
    for (llama_token id = 0; id < n; id++) {
        // Texts of user-defined tokens are ordinary text to the tokenizer: it reads them everywhere.
        const int attr = llama_vocab_get_attr(vocab, id);
        if ((attr & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) == 0) {
            continue;
        }
        const std::string text = llama_vocab_get_text(vocab, id);
        if (text.empty()) {
            continue;
        }
        entry made = { id, text, (attr & LLAMA_TOKEN_ATTR_LSTRIP) != 0, (attr & LLAMA_TOKEN_ATTR_RSTRIP) != 0 };
        if (text.size() == 1) {
            starts[(uint8_t) text[0]] = true;
            single_bytes.emplace((uint8_t) text[0], std::move(made));
        } else {
            by_two_bytes[(uint16_t) ((uint8_t) text[0] << 8 | (uint8_t) text[1])].push_back(std::move(made));
        }
    }
    for (auto & [key, entries] : by_two_bytes) {
        starts[key >> 8] = true;
        std::stable_sort(entries.begin(), entries.end(),
                         [](const entry & a, const entry & b) { return a.text.size() > b.text.size(); });
    }
}

const lc_special_tokens::entry * lc_special_tokens::at(const std::string & text, size_t position,
                                                       const std::vector<bool> * skip) const {
    if (position >= text.size() || !starts[(uint8_t) text[position]]) {
        return nullptr;
    }
    const auto usable = [&](const entry & candidate) {
        for (size_t i = 0; skip != nullptr && i < candidate.text.size(); i++) {
            if ((*skip)[position + i]) {
                return false;
            }
        }
        return true;
    };
    if (position + 1 < text.size()) {
        const auto found = by_two_bytes.find((uint16_t) ((uint8_t) text[position] << 8 | (uint8_t) text[position + 1]));
        if (found != by_two_bytes.end()) {
            for (const auto & candidate : found->second) {
                if (text.compare(position, candidate.text.size(), candidate.text) == 0 && usable(candidate)) {
                    return &candidate;
                }
            }
        }
    }
    if (!single_bytes.empty()) {
        const auto found = single_bytes.find((uint8_t) text[position]);
        if (found != single_bytes.end() && usable(found->second)) {
            return &found->second;
        }
    }
    return nullptr;
}

void lc_token_cache::append(const llama_vocab * vocab, const std::string & raw, std::vector<llama_token> & out) {
    constexpr size_t worth_keeping = 256;
    constexpr size_t max_size      = 4u << 20; // bytes of text
    const auto       tokenize      = [&] {
        return common_tokenize(vocab, raw, /* add_special */ false, /* parse_special */ false);
    };
    if (raw.size() < worth_keeping || raw.size() > max_size / 4) {
        if (!raw.empty()) {
            const auto tokens = tokenize();
            out.insert(out.end(), tokens.begin(), tokens.end());
        }
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex);
        const auto                  known = by_text.find(raw);
        if (known != by_text.end()) {
            pieces.splice(pieces.begin(), pieces, known->second);
            out.insert(out.end(), pieces.front().tokens.begin(), pieces.front().tokens.end());
            return;
        }
    }
    auto tokens = tokenize();
    out.insert(out.end(), tokens.begin(), tokens.end());
    std::lock_guard<std::mutex> lock(mutex);
    if (by_text.count(raw) > 0) {
        return; // another thread was faster
    }
    pieces.push_front({ raw, std::move(tokens) });
    by_text.emplace(pieces.front().text, pieces.begin());
    size += raw.size();
    while (size > max_size) {
        size -= pieces.back().text.size();
        by_text.erase(pieces.back().text);
        pieces.pop_back();
    }
}

std::vector<llama_token> lc_tokenize(const llama_vocab * vocab, const lc_special_tokens & special, lc_token_cache & cache,
                                     const lc_rendered & in, bool add_bos) {
    std::vector<llama_token> out;
    std::string              raw;
    bool                     skip_space = false;
    for (size_t i = 0; i < in.text.size();) {
        const lc_special_tokens::entry * found = special.at(in.text, i, &in.from_caller);
        if (found == nullptr) {
            if (!skip_space || !is_space(in.text[i])) {
                raw += in.text[i];
                skip_space = false;
            }
            i++;
            continue;
        }
        while (found->strip_left && !raw.empty() && is_space(raw.back())) {
            raw.pop_back();
        }
        cache.append(vocab, raw, out);
        raw.clear();
        out.push_back(found->token);
        skip_space = found->strip_right;
        i += found->text.size();
    }
    cache.append(vocab, raw, out);
    const llama_token bos = llama_vocab_bos(vocab);
    if (add_bos && llama_vocab_get_add_bos(vocab) && bos != LLAMA_TOKEN_NULL && (out.empty() || out[0] != bos)) {
        out.insert(out.begin(), bos);
    }
    return out;
}

std::string lc_taken_apart::text(const std::string & in) {
    std::string out;
    for (size_t i = 0; i < in.size();) {
        const lc_special_tokens::entry * token     = special != nullptr ? special->at(in, i) : nullptr;
        const bool                       is_marker = !marker.empty() && in.compare(i, marker.size(), marker) == 0;
        if (!is_marker && (token == nullptr || spared.count(token->text) > 0)) {
            out += in[i++];
            continue;
        }
        const std::string & whole = is_marker ? marker : token->text;
        found.insert(whole);
        size_t first = 1; // bytes of the first character
        while (first < whole.size() && ((unsigned char) whole[first] & 0xc0) == 0x80) {
            first++;
        }
        out.append(whole, 0, first).append(mark).append(whole, first, std::string::npos);
        i += whole.size();
    }
    return out;
}

void lc_taken_apart::operator()(json & value) {
    if (value.is_string()) {
        value = text(value.get<std::string>());
        return;
    }
    if (value.is_array()) {
        for (auto & item : value) {
            (*this)(item);
        }
        return;
    }
    if (value.is_object()) {
        json out = json::object();
        for (const auto & [key, item] : value.items()) {
            json changed = item;
            if (!is_plain(key, item)) {
                (*this)(changed);
            }
            out[text(key)] = changed;
        }
        value = out;
    }
}
