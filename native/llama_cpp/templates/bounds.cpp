#include "bounds.h"

#include "jinja/runtime.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <typeinfo>
#include <utility>
#include <vector>

namespace lc_bounds {

namespace {

using jinja::value;

// llama.cpp's own 70 templates take up to 3 million steps for a conversation of 1,000 messages, and nest values
// as deeply as the tools' schemas are nested.
constexpr int64_t   max_steps       = 20000000;
constexpr int64_t   max_bytes       = int64_t(1) << 29; // written in all
constexpr int64_t   max_text        = int64_t(1) << 24; // of one value that is made at once
constexpr int64_t   bytes_per_value = 512;
constexpr int64_t   bytes_per_part  = 64; // a string is a list of parts
constexpr int64_t   max_range       = 100000;
constexpr int64_t   max_width       = 10000;
constexpr int       max_nesting     = 256;
constexpr int       max_call_blocks = 2000; // each keeps the variables around it
constexpr ptrdiff_t max_stack       = 3 * 1024 * 1024;
constexpr double    max_seconds     = 10;
constexpr int64_t   steps_per_look  = 8; // at the clock

using clock = std::chrono::steady_clock;

// Seconds that this thread has run; that of a clock where the system cannot tell.
double seconds_of_thread() {
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec spent;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent) == 0) {
        return (double) spent.tv_sec + (double) spent.tv_nsec * 1e-9;
    }
#endif
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

struct usage {
    session *                            group       = nullptr;
    bool                                 is_open     = false; // a rendering object exists
    int                                  depth       = 0;     // of statements that run
    int                                  levels      = 0;     // of walks through values
    int                                  call_blocks = 0;
    int64_t                              steps       = 0;
    int64_t                              bytes       = 0;
    const char *                         base        = nullptr; // a place on the stack, in the outermost statement
    bool                                 failed      = false;
    std::string                          reason;
    double                               started = 0; // of this thread's time
    clock::time_point                    deadline;
    std::vector<std::pair<value, value>> changes; // container, item

    ~usage() { take_apart(); }

    void begin() {
        take_apart();
        levels = call_blocks = 0;
        steps = bytes = 0;
        failed        = group != nullptr && !group->reason.empty();
        reason        = failed ? group->reason : "";
        started       = seconds_of_thread();
        set_deadline(left());
    }

    void end() {
        if (group != nullptr) {
            group->seconds += seconds_of_thread() - started;
            if (failed && group->reason.empty()) {
                group->reason = reason;
            }
        }
        take_apart();
    }

    void take_apart() {
        std::vector<value> kept; // so that nothing is destroyed inside of something else
        for (const auto & [container, item] : changes) {
            for (auto & own : container->val_arr) {
                if (own == item) {
                    kept.push_back(std::exchange(own, jinja::mk_val<jinja::value_none>()));
                }
            }
            if (auto * object = dynamic_cast<jinja::value_object_t *>(container.get())) {
                for (auto & own : object->val_obj) {
                    if (own.second == item) {
                        object->unordered[own.first] = jinja::mk_val<jinja::value_none>();
                        kept.push_back(std::exchange(own.second, jinja::mk_val<jinja::value_none>()));
                    }
                }
            }
        }
        changes.clear();
    }

    [[noreturn]] void fail(const std::string & why) {
        if (!failed) {
            failed = true;
            reason = why;
        }
        throw exceeded(reason);
    }

    double left() const {
        return max_seconds - (group != nullptr ? group->seconds : 0) - (seconds_of_thread() - started);
    }

    void set_deadline(double seconds) {
        deadline = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    }

    // The thread's own time counts, since others may keep the machine busy; to ask for it takes longer.
    void look_at_clock() {
        if (clock::now() < deadline) {
            return;
        }
        const double seconds = left();
        if (seconds <= 0) {
            fail("it took more than " + std::to_string((int) max_seconds) + " seconds");
        }
        set_deadline(seconds);
    }

    void count_step() {
        if (failed) {
            throw exceeded(reason);
        }
        if (++steps > max_steps) {
            fail("it took more than " + std::to_string(max_steps) + " steps: it may loop for ever");
        }
    }

    void count_bytes(int64_t n) {
        if (failed) {
            throw exceeded(reason);
        }
        bytes += n;
        if (n > max_bytes || bytes > max_bytes) {
            fail("it built values of more than " + std::to_string(max_bytes / 1024 / 1024) + " MiB in all");
        }
    }
};

thread_local usage now;

// One library holds all of this, so a type has one description.
bool is_a(const std::type_info & kind, const std::type_info & other) { return &kind == &other; }

// Whether a value can hold others.
bool is_nested(const jinja::value_t & v) {
    const auto & kind = typeid(v);
    return !v.val_arr.empty() || !v.val_obj.empty() || is_a(kind, typeid(jinja::value_array_t)) ||
           is_a(kind, typeid(jinja::value_object_t)) || is_a(kind, typeid(jinja::value_func_t)) ||
           is_a(kind, typeid(jinja::value_kwarg_t));
}

void walk(usage & use, const value & v, int depth) {
    if (depth > max_nesting) {
        use.fail("it nests values more than " + std::to_string(max_nesting) + " deep, or puts one into itself");
    }
    use.count_step();
    if ((use.steps % 1024) == 0) {
        use.look_at_clock();
    }
    for (const auto & item : v->val_arr) {
        walk(use, item, depth + 1);
    }
    for (const auto & [key, item] : v->val_obj) {
        walk(use, key, depth + 1);
        walk(use, item, depth + 1);
    }
    const auto & kind = typeid(*v);
    if (is_a(kind, typeid(jinja::value_func_t))) {
        if (const auto & bound = static_cast<const jinja::value_func_t &>(*v).arg0) {
            walk(use, bound, depth + 1);
        }
    } else if (is_a(kind, typeid(jinja::value_kwarg_t))) {
        walk(use, static_cast<const jinja::value_kwarg_t &>(*v).val, depth + 1);
    }
}

bool is_literal(const std::type_info & kind) {
    return is_a(kind, typeid(jinja::array_literal)) || is_a(kind, typeid(jinja::tuple_literal)) ||
           is_a(kind, typeid(jinja::object_literal));
}

// Whether a node can make a new list out of another.
bool copies(const std::type_info & kind) {
    return is_a(kind, typeid(jinja::filter_expression)) || is_a(kind, typeid(jinja::call_expression)) ||
           is_a(kind, typeid(jinja::binary_expression)) || is_a(kind, typeid(jinja::member_expression));
}

} // namespace

session::session() : outer(now.group) { now.group = this; }

session::~session() {
    now.group = outer;
    if (outer != nullptr) {
        outer->seconds += seconds;
        if (outer->reason.empty()) {
            outer->reason = reason;
        }
    }
}

rendering::rendering() : is_outermost(!now.is_open) {
    if (is_outermost) {
        now.begin();
        now.is_open = true;
    }
}

rendering::~rendering() {
    if (is_outermost) {
        now.is_open = false;
        now.end();
    }
}

bool rendering::has_changed_values() const { return !now.changes.empty(); }

running::running() {
    usage &    use  = now;
    const char here = 0;
    if (use.depth == 0) {
        if (!use.is_open) { // rendered by a way that is not known here
            use.begin();
        }
        use.base = &here;
    }
    use.count_step();
    if (std::abs(use.base - &here) > max_stack) {
        use.fail("its macros call each other without end");
    }
    if ((use.steps % steps_per_look) == 0) {
        use.look_at_clock();
    }
    use.depth++;
}

running::~running() { now.depth--; }

value running::checked(const jinja::statement & node, value && result) {
    usage & use = now;
    if (use.failed) {
        throw exceeded(use.reason);
    }
    const auto & kind = typeid(node);
    if (is_a(kind, typeid(jinja::call_statement)) && ++use.call_blocks > max_call_blocks) {
        use.fail("it took more than " + std::to_string(max_call_blocks) + " call blocks");
    }
    if (result == nullptr) {
        return std::move(result);
    }
    const auto & made = typeid(*result);
    if (is_literal(kind)) {
        use.count_bytes(bytes_per_value * (int64_t) (1 + result->val_arr.size() + result->val_obj.size()));
        walk(use, result, 0);
    } else if (is_a(made, typeid(jinja::value_tuple_t))) {
        walk(use, result, 0);
    } else if (is_a(made, typeid(jinja::value_array_t))) {
        if (copies(kind) && result.use_count() == 1) {
            use.count_bytes(bytes_per_value + (int64_t) (result->val_arr.size() * sizeof(value)));
        }
        if (use.depth == 1) { // it is printed
            walk(use, result, 0);
        }
    }
    return std::move(result);
}

level::level() {
    usage & use = now;
    use.count_step();
    if ((use.steps % steps_per_look) == 0) {
        use.look_at_clock();
    }
    if (++use.levels > 2 * max_nesting) {
        use.levels--;
        use.fail("it nests values more than " + std::to_string(max_nesting) + " deep, or puts one into itself");
    }
}

level::~level() { now.levels--; }

void step() {
    now.count_step();
    now.look_at_clock();
}

void text(size_t n) { now.count_bytes((int64_t) n + bytes_per_part); }

void repeat(const jinja::string & text, int64_t times) {
    const double size = (double) text.length() + (double) (bytes_per_part * (int64_t) (text.parts.size() + 1));
    if (times > 0 && size * (double) times > (double) max_text) {
        now.fail("it repeated a text to more than " + std::to_string(max_text / 1024 / 1024) + " MiB");
    }
}

void values(size_t n) { now.count_bytes((int64_t) n * bytes_per_value); }

int width(int64_t n) {
    if (n > max_width || n < -max_width) {
        now.fail("it indented by " + std::to_string(n) + ", which is more than " + std::to_string(max_width));
    }
    return (int) n;
}

void range(int64_t start, int64_t stop, int64_t step) {
    constexpr double exact  = 9007199254740992.0; // beyond it a last step could leave the range of integers
    const double     length = step == 0 ? 0 : ((double) stop - (double) start) / (double) step;
    if (length > (double) max_range || std::abs((double) start) > exact || std::abs((double) stop) > exact ||
        std::abs((double) step) > exact) {
        throw std::runtime_error("range() is limited to " + std::to_string(max_range) + " numbers");
    }
    values(length > 0 ? (size_t) length : 0);
}

void changed(const value & container, const value & item) {
    usage & use = now;
    use.count_bytes((int64_t) sizeof(value));
    if (is_nested(*item)) {
        use.count_bytes(bytes_per_value);
        use.changes.emplace_back(container, item);
    }
}

void check_nesting(const value & value) { walk(now, value, 0); }

} // namespace lc_bounds
