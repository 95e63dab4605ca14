#include "grammar/constraint.h"

#include <unordered_map>

namespace {

const std::string MARK = "# constraint ";

std::mutex                                                 marked_mutex;
std::unordered_map<uint64_t, std::weak_ptr<lc_constraint>> marked;
uint64_t                                                   last_mark = 0;

void forget_ended() {
    for (auto i = marked.begin(); i != marked.end();) {
        i = i->second.expired() ? marked.erase(i) : std::next(i);
    }
}

} // namespace

void lc_constraint::fail(const std::string & reason) {
    std::lock_guard<std::mutex> lock(mutex);
    message = reason;
}

std::string lc_constraint::error() const {
    std::lock_guard<std::mutex> lock(mutex);
    return message;
}

std::string lc_constraint::mark(const std::string & text, const std::shared_ptr<lc_constraint> & constraint) {
    std::lock_guard<std::mutex> lock(marked_mutex);
    if (++last_mark % 64 == 0) {
        forget_ended();
    }
    marked[last_mark] = constraint;
    return MARK + std::to_string(last_mark) + "\n" + text;
}

std::shared_ptr<lc_constraint> lc_constraint::of(std::string & text) {
    const size_t end = text.find('\n');
    if (text.compare(0, MARK.size(), MARK) != 0 || end == std::string::npos) {
        return nullptr;
    }
    const std::string number = text.substr(MARK.size(), end - MARK.size());
    text.erase(0, end + 1);
    std::lock_guard<std::mutex> lock(marked_mutex);
    const auto                  found = marked.find(std::strtoull(number.c_str(), nullptr, 10));
    return found == marked.end() ? nullptr : found->second.lock();
}
