#include "grammar/constraint.h"

#include "llama_cpp/per_process.h"

#include <unordered_map>

namespace {

const std::string MARK = "# constraint ";

struct marked_constraints {
    std::mutex                                                 mutex;
    std::unordered_map<uint64_t, std::weak_ptr<lc_constraint>> all;
    uint64_t                                                   last = 0;
};

lc_per_process<marked_constraints> marked;

void forget_ended() {
    for (auto i = marked->all.begin(); i != marked->all.end();) {
        i = i->second.expired() ? marked->all.erase(i) : std::next(i);
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
    std::lock_guard<std::mutex> lock(marked->mutex);
    if (++marked->last % 64 == 0) {
        forget_ended();
    }
    marked->all[marked->last] = constraint;
    return MARK + std::to_string(marked->last) + "\n" + text;
}

std::shared_ptr<lc_constraint> lc_constraint::of(std::string & text) {
    const size_t end = text.find('\n');
    if (text.compare(0, MARK.size(), MARK) != 0 || end == std::string::npos) {
        return nullptr;
    }
    const std::string number = text.substr(MARK.size(), end - MARK.size());
    text.erase(0, end + 1);
    std::lock_guard<std::mutex> lock(marked->mutex);
    const auto                  found = marked->all.find(std::strtoull(number.c_str(), nullptr, 10));
    return found == marked->all.end() ? nullptr : found->second.lock();
}
