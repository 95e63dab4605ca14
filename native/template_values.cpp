#include "template_values.h"

#include <algorithm>
#include <memory>

namespace {

bool may_be_replaced(char c) {
    return c > ' ' && c < lc_input_marks::marker && c != '"' && c != '\\';
}

} // namespace

std::optional<size_t> lc_byte_to_replace(const std::string & text, int choice) {
    for (size_t i = text.size(); i-- > 0;) {
        if (may_be_replaced(text[i]) && choice-- == 0) {
            return i;
        }
    }
    return std::nullopt;
}

namespace {

// Where a string's beginning or end is a part of a token that text around it could complete: the part's range.
std::vector<std::pair<size_t, size_t>> parts_of(const std::string & text, const std::string & token) {
    std::vector<std::pair<size_t, size_t>> out;
    if (text.size() < 2) {
        return out;
    }
    if (text.size() < token.size() && token.find(text) != std::string::npos) {
        out.emplace_back(0, text.size());
        return out;
    }
    const size_t longest = std::min(text.size(), token.size() - 1);
    if (token.find(text.substr(0, 2)) != std::string::npos) {
        for (size_t n = longest; n >= 2; n--) {
            if (text.compare(0, n, token, token.size() - n, n) == 0) {
                out.emplace_back(0, n);
                break;
            }
        }
    }
    if (token.find(text.substr(text.size() - 2)) != std::string::npos) {
        for (size_t n = longest; n >= 2; n--) {
            if (text.compare(text.size() - n, n, token, 0, n) == 0) {
                out.emplace_back(text.size() - n, n);
                break;
            }
        }
    }
    return out;
}

void replace_parts(std::string & out, const std::string & text, const lc_input_marks & marks) {
    for (const auto & [token, found] : marks.completed) {
        for (const auto & [first, size] : parts_of(text, found->text)) {
            if (const auto offset = lc_byte_to_replace(text.substr(first, size), marks.choice)) {
                out[first + *offset] = lc_input_marks::marker;
            }
        }
    }
}

std::string marked(const std::string & text, lc_input_marks & marks) {
    std::string out = text;
    if (!marks.completed.empty()) {
        replace_parts(out, text, marks);
        return out;
    }
    for (size_t i = 0; i < text.size();) {
        const lc_special_tokens::entry * found = marks.special->at(text, i);
        if (found == nullptr) {
            i++;
            continue;
        }
        marks.found.emplace(found->token, found);
        if (marks.replaced.count(found->token) > 0) {
            if (const auto offset = lc_byte_to_replace(found->text, marks.choice)) {
                out[i + *offset] = lc_input_marks::marker;
            }
        }
        i += found->text.size();
    }
    return out;
}

jinja::value string_value(const std::string & text, lc_input_marks & marks) {
    if (marks.special == nullptr) {
        return jinja::mk_val<jinja::value_string>(text);
    }
    auto out = jinja::mk_val<jinja::value_string>(marked(text, marks));
    out->mark_input();
    return out;
}

} // namespace

bool lc_has_part_of(const json & j, const std::string & token) {
    if (j.is_string()) {
        return !parts_of(j.get<std::string>(), token).empty();
    }
    if (j.is_array()) {
        return std::any_of(j.begin(), j.end(), [&](const json & item) { return lc_has_part_of(item, token); });
    }
    if (j.is_object()) {
        for (const auto & [key, value] : j.items()) {
            if (key == "role") {
                continue;
            }
            if (!parts_of(key, token).empty() || lc_has_part_of(value, token)) {
                return true;
            }
        }
    }
    return false;
}

jinja::value lc_to_value(const json & j, lc_input_marks & marks) {
    if (j.is_string()) {
        return string_value(j.get<std::string>(), marks);
    }
    if (j.is_array()) {
        auto out = jinja::mk_val<jinja::value_array>();
        for (const auto & item : j) {
            out->push_back(lc_to_value(item, marks));
        }
        return out;
    }
    if (j.is_object()) {
        auto out = jinja::mk_val<jinja::value_object>();
        for (const auto & [key, value] : j.items()) {
            out->insert(marks.special == nullptr ? key : marked(key, marks), lc_to_value(value, marks));
        }
        return out;
    }
    if (j.is_boolean()) {
        return jinja::mk_val<jinja::value_bool>(j.get<bool>());
    }
    if (j.is_number_integer()) {
        return jinja::mk_val<jinja::value_int>(j.get<int64_t>());
    }
    if (j.is_number()) {
        return jinja::mk_val<jinja::value_float>(j.get<double>());
    }
    return jinja::mk_val<jinja::value_none>();
}

bool lc_tools::has_part_of(const lc_special_tokens::entry & token) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto                  known = parts.find(token.token);
    if (known != parts.end()) {
        return known->second;
    }
    return parts[token.token] = lc_has_part_of(parsed, token.text);
}

bool lc_tools::same_with(const lc_input_marks & marks) {
    if (marks.special == nullptr) {
        return false;
    }
    values     own       = take(*marks.special);
    const auto replaced  = [&](const auto & entry) { return own.found.count(entry.first) > 0; };
    const auto completed = [&](const auto & entry) { return has_part_of(*entry.second); };
    const bool same      = std::none_of(marks.replaced.begin(), marks.replaced.end(), replaced) &&
                           std::none_of(marks.completed.begin(), marks.completed.end(), completed);
    give_back(std::move(own));
    return same;
}

lc_tools::values lc_tools::take(const lc_special_tokens & special) {
    {
        std::lock_guard<std::mutex> lock(mutex);
        if (!idle.empty()) {
            values out = std::move(idle.back());
            idle.pop_back();
            return out;
        }
    }
    lc_input_marks marks;
    marks.special = &special;
    values out;
    out.list  = lc_to_value(parsed, marks);
    out.found = marks.found;
    return out;
}

void lc_tools::give_back(values used) {
    constexpr size_t            max_idle = 4;
    std::lock_guard<std::mutex> lock(mutex);
    if (idle.size() < max_idle) {
        idle.push_back(std::move(used));
    }
}

const json & lc_tools_json(const lc_tools & tools) { return tools.parsed; }

extern "C" {

lc_tools * lc_tools_new(const char * text, size_t size) {
    return lc_guard<lc_tools *>(nullptr, [&] {
        auto tools    = std::make_unique<lc_tools>();
        tools->parsed = json::parse(std::string(text, size));
        return tools.release();
    });
}

void lc_tools_free(lc_tools * tools) { delete tools; }
}
