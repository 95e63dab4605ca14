#include "template_guard.h"

#include "error.h"
#include "template_bounds.h"
#include "template_tree.h"

#include "jinja/caps.h"
#include "jinja/parser.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace {

using jinja::statement_ptr;
using jinja::token;
using jinja::value;

// The deepest of llama.cpp's own 70 templates have 6 brackets, 10 blocks, and 62 words and signs in an expression.
constexpr int       max_brackets  = 64;
constexpr int       max_operators = 1000; // of one expression: a + b + c is a tree as deep as it is long
constexpr int       max_blocks    = 256;  // with every elif, which is nested in the one before
constexpr ptrdiff_t max_stack     = 512 * 1024; // bytes, from the first macro to the innermost
constexpr int64_t   max_range     = 100000;     // the limit of Jinja2's own sandbox

[[noreturn]] void refuse(const std::string & reason) { throw lc_exception("endless_template", reason); }

// Counts how deep a template is nested, in the order of its tokens.
class nesting {
  public:
    void add(const token & t) {
        switch (t.t) {
            case token::open_statement:
            case token::open_expression:
                at_keyword = t.t == token::open_statement;
                in_set     = false;
                brackets = operators = 0;
                return;
            case token::close_statement:
                if (in_set) { // without a value: the block that follows is the value
                    open();
                }
                return;
            case token::open_paren:
            case token::open_square_bracket:
            case token::open_curly_bracket:
                check(++brackets, max_brackets, "brackets in an expression");
                break;
            case token::close_paren:
            case token::close_square_bracket:
            case token::close_curly_bracket:
                brackets--;
                return;
            case token::identifier:
                if (at_keyword) {
                    at_keyword = false;
                    keyword(t.value);
                    return;
                }
                if (!is_operator(t.value)) {
                    return;
                }
                break;
            case token::equals:
                in_set = false;
                return;
            case token::numeric_literal:
            case token::string_literal:
            case token::comma:
            case token::colon:
            case token::text:
                return;
            default:
                break;
        }
        check(++operators, max_operators, "operators in an expression");
    }

  private:
    int              brackets = 0, operators = 0, depth = 0;
    std::vector<int> blocks; // how deep each of those that are open is: an if has its elif in it
    bool             at_keyword = false, in_set = false;

    static void check(int count, int most, const char * what) {
        if (count > most) {
            refuse("more than " + std::to_string(most) + " " + what + ", one within the other");
        }
    }

    static bool is_operator(const std::string & word) {
        static const char * const all[] = { "and", "or", "not", "is", "in", "if", "else" };
        return std::find(std::begin(all), std::end(all), word) != std::end(all);
    }

    void open() {
        blocks.push_back(1);
        check(++depth, max_blocks, "blocks");
    }

    void keyword(const std::string & word) {
        static const char * const ends[] = { "endif", "endfor", "endmacro", "endcall", "endfilter", "endset" };
        if (word == "if" || word == "for" || word == "macro" || word == "call" || word == "filter") {
            open();
        } else if (word == "set") {
            in_set = true;
        } else if (word == "elif" && !blocks.empty()) {
            blocks.back()++;
            check(++depth, max_blocks, "blocks");
        } else if (std::find(std::begin(ends), std::end(ends), word) != std::end(ends) && !blocks.empty()) {
            depth -= blocks.back();
            blocks.pop_back();
        }
    }
};

thread_local const char * outermost = nullptr; // a place on the stack, in the first macro of those that run
thread_local bool         too_deep  = false;

// A macro's body.
struct guarded_body : lc_own_node {
    explicit guarded_body(jinja::statements && body) : body(std::move(body)) {}

    std::string type() const override { return "Macro"; }
    void        each_child(const lc_visit & visit) override { lc_each(body, visit); }

    value execute_impl(jinja::context & ctx) const override {
        const char here = 0;
        struct mark {
            explicit mark(const char * place) : first(outermost == nullptr) {
                if (first) {
                    outermost = place;
                }
            }
            ~mark() {
                if (first) {
                    outermost = nullptr;
                }
            }
            const bool first;
        } const inside(&here);
        if (std::abs(outermost - &here) > max_stack) {
            too_deep = true;
            throw std::runtime_error("macros call each other without end");
        }
        auto out = jinja::mk_val<jinja::value_array>();
        for (const auto & node : body) {
            out->push_back(node->execute(ctx));
        }
        return jinja::runtime::gather_string_parts(out);
    }

    jinja::statements body;
};

value bounded_range(const jinja::func_args & args) {
    int64_t bounds[3] = { 0, 0, 1 };
    for (size_t i = 0; i < std::min<size_t>(args.count(), 3); i++) {
        if (jinja::is_val<jinja::value_int>(args.get_pos(i))) {
            bounds[args.count() == 1 ? 1 : i] = args.get_pos(i)->as_int();
        }
    }
    const double length = ((double) bounds[1] - (double) bounds[0]) / (double) (bounds[2] == 0 ? 1 : bounds[2]);
    if (length > (double) max_range) {
        throw std::runtime_error("range() is limited to " + std::to_string(max_range) + " numbers");
    }
    return jinja::global_builtins().at("range")(args);
}

// The name `range`, where it is called.
struct guarded_range : jinja::identifier {
    guarded_range() : identifier("range") {}

    value execute_impl(jinja::context & ctx) const override {
        const value known = ctx.get_val(val);
        return known->is_undefined() ? jinja::mk_val<jinja::value_func>(val, bounded_range) : known;
    }
};

void guard(statement_ptr & node) {
    lc_each_child(*node, guard);
    if (auto * macro = dynamic_cast<jinja::macro_statement *>(node.get())) {
        auto body = std::make_unique<guarded_body>(std::move(macro->body));
        body->pos = macro->pos;
        macro->body.clear();
        macro->body.push_back(std::move(body));
    } else if (auto * call = dynamic_cast<jinja::call_expression *>(node.get())) {
        const auto * name = dynamic_cast<jinja::identifier *>(call->callee.get());
        if (name != nullptr && name->val == "range") {
            const size_t position = name->pos;
            call->callee          = std::make_unique<guarded_range>();
            call->callee->pos     = position;
        }
    }
}

} // namespace

void lc_guard_template(jinja::program & program) { lc_each(program.body, guard); }

void lc_check_template(const std::string & source) {
    jinja::program program;
    try {
        jinja::lexer lexer;
        const auto   read = lexer.tokenize(source);
        nesting      nested;
        for (const auto & t : read.tokens) {
            nested.add(t);
        }
        program = jinja::parse_from_tokens(read);
    } catch (const lc_exception &) {
        throw;
    } catch (const std::exception &) {
        return;
    }
    lc_guard_template(program);
    too_deep = false;
    lc_bounds::session session;
    jinja::caps_get(program); // renders conversations of all kinds, as llama.cpp does when it loads a model
    if (too_deep) {
        refuse("its macros call each other without end");
    }
    if (const std::string failure = session.failure(); !failure.empty()) {
        refuse(failure);
    }
}

extern "C" {

bool lc_template_is_bounded(const char * text, size_t size) {
    return lc_guard<bool>(false, [&] {
        lc_check_template(std::string(text, size));
        return true;
    });
}
}
