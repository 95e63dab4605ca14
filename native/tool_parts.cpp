// Finds the parts of a template whose output can be remembered: those that write the tools and depend on nothing
// else but the request's settings. Every variable that such a part reads is one that it has set before, `tools`, a
// macro of which the same is true, or a variable that the template sets nowhere and that is not the conversation. And
// it must leave nothing behind: no variable, no changed object.
//
// An example, from Qwen3's template:
//
//     {%- if tools %}                                            reads tools
//         {{- '<|im_start|>system\n' }}
//         {%- if messages[0].role == 'system' %}                 reads messages
//             {{- messages[0].content + '\n\n' }}
//         {%- endif %}
//         {{- "# Tools\n\nYou may call ... <tools>" }}
//         {%- for tool in tools %}                               <- this loop
//             {{- "\n" }}
//             {{- tool | tojson }}
//         {%- endfor %}
//         {{- "\n</tools>\n\nFor each function call, ..." }}
//     {%- else %} ...
//
// The whole `if` reads the conversation, so it is not such a part; the loop reads `tools` and its own `tool`, and is
// the largest one that is. For the tool find_places it writes
//
//     \n{"type": "function", "function": {"name": "find_places", ... "required": ["place", "limit"]}}}
//
// once, and later prompts with the same tools take that text, with its marks of what came from the caller. A loop that
// also set a variable of the template, or appended to a list made outside of it, would not be remembered.
#include "tool_parts.h"

#include <set>
#include <vector>

namespace {

using jinja::statement;
using jinja::statement_ptr;
using names = std::set<std::string>;

template <typename T> T * as(const statement_ptr & node) { return dynamic_cast<T *>(node.get()); }

std::string name_of(const statement_ptr & node) {
    const auto * it = as<jinja::identifier>(node);
    return it != nullptr ? it->val : "";
}

std::string filter_name(const statement_ptr & filter) {
    const auto * call = as<jinja::call_expression>(filter);
    return name_of(call != nullptr ? call->callee : filter);
}

// What a part reads and does.
struct effects {
    names reads;        // variables that it has not set before
    bool  known = true; // false: it may do things that are not looked into here

    void join(const effects & other) {
        reads.insert(other.reads.begin(), other.reads.end());
        known = known && other.known;
    }
    bool operator==(const effects & other) const { return reads == other.reads && known == other.known; }
};

// Variables that a part has set for certain at some point of it.
struct scope {
    names set;
    names objects;       // those of them that hold a namespace() of the part's own
    bool  inner = false; // in a loop or macro, whose variables end with it

    void bind(const std::string & name, bool object = false) {
        set.insert(name);
        if (object) {
            objects.insert(name);
        } else {
            objects.erase(name);
        }
    }
    bool has(const std::string & name) const { return set.count(name) > 0; }
};

names intersection(const names & a, const names & b) {
    names out;
    for (const auto & name : a) {
        if (b.count(name) > 0) {
            out.insert(name);
        }
    }
    return out;
}

// Methods that change the object that they are called for; llama.cpp has the first two as filters, too.
bool changes_its_object(const std::string & method) {
    static const names all = { "append", "pop", "insert", "update", "extend", "remove", "clear", "setdefault" };
    return all.count(method) > 0;
}

// Functions of every template whose value follows from their arguments.
bool is_pure_function(const std::string & name) {
    return name == "namespace" || name == "dict" || name == "range" || name == "raise_exception";
}

class analysis {
  public:
    explicit analysis(jinja::program & program) {
        // Set by the renderer, by llama.cpp's loops and calls, or differing between two renderings.
        assigned = { "messages", "loop", "caller", "strftime_now" };
        lc_each(program.body, [&](statement_ptr & node) { collect(node); });
        for (auto & node : program.body) {
            if (const auto * macro = as<jinja::macro_statement>(node); macro != nullptr && n_bound[name_of(macro->name)] == 1) {
                macros[name_of(macro->name)] = macro;
            }
        }
        // A macro may call itself and those that come later, so this goes on until nothing is added.
        for (bool changed = true; changed;) {
            changed = false;
            for (const auto & [name, macro] : macros) {
                const effects now   = of_macro(*macro);
                changed             = changed || !(now == macro_effects[name]);
                macro_effects[name] = now;
            }
        }
    }

    // Whether the output of a part follows from the tools and settings, and tools are among what it reads.
    bool depends_on_tools_only(const statement_ptr & node) {
        effects found;
        scope   at_start;
        walk(node, at_start, found);
        if (!found.known || !at_start.set.empty() || found.reads.count("tools") == 0) {
            return false;
        }
        for (const auto & name : found.reads) {
            if (name != "tools" && assigned.count(name) > 0) {
                return false;
            }
        }
        return true;
    }

  private:
    names                                                 assigned; // all names that the template binds anywhere
    std::map<std::string, int>                            n_bound;
    std::map<std::string, const jinja::macro_statement *> macros; // those at the top, defined once
    std::map<std::string, effects>                        macro_effects;

    void bound(const statement_ptr & target) {
        for (const auto & name : targets(target)) {
            assigned.insert(name);
            n_bound[name]++;
        }
    }

    static std::vector<std::string> targets(const statement_ptr & target) {
        std::vector<std::string> out;
        if (const auto * tuple = as<jinja::tuple_literal>(target)) {
            for (const auto & item : tuple->val) {
                out.push_back(name_of(item));
            }
        } else if (const auto * with_default = as<jinja::keyword_argument_expression>(target)) {
            out.push_back(name_of(with_default->key));
        } else if (as<jinja::identifier>(target) != nullptr) {
            out.push_back(name_of(target));
        }
        return out;
    }

    void collect(statement_ptr & node) {
        if (const auto * loop = as<jinja::for_statement>(node)) {
            bound(loop->loopvar);
        } else if (const auto * set = as<jinja::set_statement>(node)) {
            bound(set->assignee);
        } else if (const auto * macro = as<jinja::macro_statement>(node)) {
            bound(macro->name);
            for (const auto & arg : macro->args) {
                bound(arg);
            }
        } else if (const auto * call = as<jinja::call_statement>(node)) {
            for (const auto & arg : call->caller_args) {
                bound(arg);
            }
        }
        lc_each_child(*node, [&](statement_ptr & child) { collect(child); });
    }

    effects of_macro(const jinja::macro_statement & macro) {
        effects out;
        scope   inside;
        inside.inner = true;
        for (const auto & arg : macro.args) {
            if (const auto * with_default = as<jinja::keyword_argument_expression>(arg)) {
                walk(with_default->val, inside, out);
            }
        }
        for (const auto & arg : macro.args) {
            for (const auto & name : targets(arg)) {
                inside.bind(name);
            }
        }
        walk_all(macro.body, inside, out);
        return out;
    }

    void walk_all(const jinja::statements & list, scope & at, effects & out) {
        for (const auto & node : list) {
            walk(node, at, out);
        }
    }

    void walk(const statement_ptr & node, scope & at, effects & out) {
        if (const auto * name = as<jinja::identifier>(node)) {
            if (!at.has(name->val)) {
                out.reads.insert(name->val);
            }
        } else if (const auto * choice = as<jinja::if_statement>(node)) {
            walk_if(*choice, at, out);
        } else if (const auto * loop = as<jinja::for_statement>(node)) {
            walk_for(*loop, at, out);
        } else if (const auto * set = as<jinja::set_statement>(node)) {
            walk_set(*set, at, out);
        } else if (const auto * call = as<jinja::call_expression>(node)) {
            walk_call(*call, at, out);
        } else if (const auto * member = as<jinja::member_expression>(node)) {
            walk(member->object, at, out);
            if (member->computed) {
                walk(member->property, at, out);
            }
        } else if (const auto * filter = as<jinja::filter_expression>(node)) {
            walk(filter->operand, at, out);
            walk_filter(filter->filter, at, out);
        } else if (const auto * test = as<jinja::test_expression>(node)) {
            walk(test->operand, at, out);
            walk_filter(test->test, at, out);
        } else if (const auto * argument = as<jinja::keyword_argument_expression>(node)) {
            walk(argument->val, at, out);
        } else if (as<jinja::macro_statement>(node) || as<jinja::call_statement>(node) || as<jinja::filter_statement>(node) ||
                   as<jinja::spread_expression>(node)) {
            out.known = false;
        } else if (!lc_each_child(*node, [&](statement_ptr & child) { walk(child, at, out); })) {
            out.known = false;
        }
    }

    void walk_if(const jinja::if_statement & choice, scope & at, effects & out) {
        walk(choice.test, at, out);
        scope otherwise = at;
        walk_all(choice.body, at, out);
        walk_all(choice.alternate, otherwise, out);
        if (!at.inner && !(at.set == otherwise.set)) {
            out.known = false; // sets a variable for what follows, in one of the two cases
        }
        at.set     = intersection(at.set, otherwise.set);
        at.objects = intersection(at.objects, otherwise.objects);
    }

    void walk_for(const jinja::for_statement & loop, const scope & at, effects & out) {
        scope inside      = at;
        inside.inner      = true;
        const auto * some = as<jinja::select_expression>(loop.iterable);
        walk(some != nullptr ? some->lhs : loop.iterable, inside, out);
        for (const auto & name : targets(loop.loopvar)) {
            inside.bind(name);
        }
        if (some != nullptr) {
            walk(some->test, inside, out);
        }
        inside.bind("loop");
        walk_all(loop.body, inside, out);
        out.known = out.known && loop.default_block.empty();
    }

    void walk_set(const jinja::set_statement & set, scope & at, effects & out) {
        if (set.val) {
            walk(set.val, at, out);
        } else {
            walk_all(set.body, at, out);
        }
        if (const auto * member = as<jinja::member_expression>(set.assignee)) {
            out.known = out.known && at.objects.count(name_of(member->object)) > 0;
            return;
        }
        const auto * call   = set.val ? as<jinja::call_expression>(set.val) : nullptr;
        const bool   object = call != nullptr && name_of(call->callee) == "namespace" && !at.has("namespace");
        for (const auto & name : targets(set.assignee)) {
            at.bind(name, object);
        }
    }

    void walk_call(const jinja::call_expression & call, scope & at, effects & out) {
        const std::string name = name_of(call.callee);
        if (macros.count(name) > 0 && !at.has(name)) {
            out.join(macro_effects[name]); // it sees its caller's variables, but for certain only its own
        } else if (!name.empty()) {
            out.known = out.known && is_pure_function(name) && assigned.count(name) == 0;
        } else if (const auto * method = as<jinja::member_expression>(call.callee); method != nullptr && !method->computed) {
            walk(method->object, at, out);
            out.known = out.known && !changes_its_object(name_of(method->property));
        } else {
            out.known = false;
        }
        walk_all(call.args, at, out);
    }

    // A filter or test: its name is no variable.
    void walk_filter(const statement_ptr & filter, scope & at, effects & out) {
        const std::string name = filter_name(filter);
        out.known              = out.known && !name.empty() && !changes_its_object(name) && name != "random";
        if (const auto * call = as<jinja::call_expression>(filter)) {
            walk_all(call->args, at, out);
        }
    }
};

class search {
  public:
    search(analysis & found, const lc_visit & visit) : found(found), visit(visit) {}

    void all(jinja::statements & list) {
        lc_each(list, [&](statement_ptr & node) { statement(node); });
    }

  private:
    analysis &       found;
    const lc_visit & visit;

    // The largest parts in a statement that can be remembered.
    void statement(statement_ptr & node) {
        if (auto * set = as<jinja::set_statement>(node)) {
            if (set->val && found.depends_on_tools_only(set->val)) {
                visit(set->val);
            }
            all(set->body);
        } else if (found.depends_on_tools_only(node)) {
            visit(node);
        } else if (auto * choice = as<jinja::if_statement>(node)) {
            all(choice->body);
            all(choice->alternate);
        } else if (auto * loop = as<jinja::for_statement>(node)) {
            all(loop->body);
            all(loop->default_block);
        } else if (auto * macro = as<jinja::macro_statement>(node)) {
            all(macro->body);
        } else if (auto * own = as<lc_own_node>(node)) {
            own->each_child([&](statement_ptr & child) { statement(child); });
        }
    }
};

} // namespace

bool lc_changes_values(jinja::program & program) {
    bool           found = false;
    const lc_visit look  = [&](statement_ptr & node) {
        if (const auto * call = as<jinja::call_expression>(node)) {
            const auto * method = as<jinja::member_expression>(call->callee);
            found               = found || (method != nullptr && (method->computed || changes_its_object(name_of(method->property))));
        } else if (const auto * filter = as<jinja::filter_expression>(node)) {
            found = found || changes_its_object(filter_name(filter->filter));
        }
        lc_each_child(*node, look);
    };
    lc_each(program.body, look);
    return found;
}

void lc_each_tool_part(jinja::program & program, const lc_visit & visit) {
    analysis found(program);
    search(found, visit).all(program.body);
}
