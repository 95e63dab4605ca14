// What a chat template may use up while llama.cpp renders it: templates come from model files of strangers.
//
// llama.cpp's engine calls these functions where it takes a step, copies text or makes values (change.cmake says
// where). A rendering that passes a limit ends with an exception; so does every further step of it, because the
// engine drops exceptions in some places.
#pragma once

#include "jinja/value.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace jinja {
struct statement;
}

namespace lc_bounds {

struct exceeded : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Renderings that belong together, such as those that find out about a template: they share one limit of time,
// and when one passes a limit, the later ones fail at once.
class session {
  public:
    session();
    ~session();
    session(const session &)             = delete;
    session & operator=(const session &) = delete;

    // Why a rendering was stopped; empty if none was.
    const std::string & failure() const { return reason; }

    std::string reason;
    double      seconds = 0; // spent by renderings that have ended

  private:
    session * outer;
};

// One rendering. Values that the template has put into one another are taken apart when it ends, so that rings
// do not leak and long chains are not destroyed one inside the other.
class rendering {
  public:
    rendering();
    ~rendering();
    rendering(const rendering &)             = delete;
    rendering & operator=(const rendering &) = delete;

    // Whether the template has put a value into a list or an object that there was before.
    bool has_changed_values() const;

  private:
    bool is_outermost;
};

// One statement or expression while it runs.
class running {
  public:
    running();
    ~running();
    running(const running &)             = delete;
    running & operator=(const running &) = delete;

    jinja::value checked(const jinja::statement & node, jinja::value && result);
};

// One level of a walk through a value.
class level {
  public:
    level();
    ~level();
    level(const level &)             = delete;
    level & operator=(const level &) = delete;
};

void step();               // one round of a loop
void text(size_t n);       // n bytes are about to be written
void repeat(const jinja::string & text, int64_t times);
void values(size_t n);     // n values are about to be made
int  width(int64_t n);     // n itself, unless no text is indented that far
void range(int64_t start, int64_t stop, int64_t step);
void changed(const jinja::value & container, const jinja::value & item); // item is about to be put into it
void check_nesting(const jinja::value & value);

} // namespace lc_bounds
