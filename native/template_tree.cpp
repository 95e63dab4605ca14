#include "template_tree.h"

namespace {

using jinja::statement;
using jinja::statement_ptr;

void some(statement_ptr & optional, const lc_visit & visit) {
    if (optional) {
        visit(optional);
    }
}

bool visit_statement(statement & node, const lc_visit & visit) {
    if (auto * it = dynamic_cast<jinja::if_statement *>(&node)) {
        visit(it->test);
        lc_each(it->body, visit);
        lc_each(it->alternate, visit);
    } else if (auto * it = dynamic_cast<jinja::for_statement *>(&node)) {
        visit(it->loopvar);
        visit(it->iterable);
        lc_each(it->body, visit);
        lc_each(it->default_block, visit);
    } else if (auto * it = dynamic_cast<jinja::set_statement *>(&node)) {
        visit(it->assignee);
        some(it->val, visit);
        lc_each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::macro_statement *>(&node)) {
        visit(it->name);
        lc_each(it->args, visit);
        lc_each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::filter_statement *>(&node)) {
        visit(it->filter);
        lc_each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::call_statement *>(&node)) {
        visit(it->call);
        lc_each(it->caller_args, visit);
        lc_each(it->body, visit);
    } else {
        return false;
    }
    return true;
}

bool visit_operation(statement & node, const lc_visit & visit) {
    if (auto * it = dynamic_cast<jinja::binary_expression *>(&node)) {
        visit(it->left);
        visit(it->right);
    } else if (auto * it = dynamic_cast<jinja::filter_expression *>(&node)) {
        visit(it->operand);
        visit(it->filter);
    } else if (auto * it = dynamic_cast<jinja::test_expression *>(&node)) {
        visit(it->operand);
        visit(it->test);
    } else if (auto * it = dynamic_cast<jinja::select_expression *>(&node)) {
        visit(it->lhs);
        visit(it->test);
    } else if (auto * it = dynamic_cast<jinja::unary_expression *>(&node)) {
        visit(it->argument);
    } else if (auto * it = dynamic_cast<jinja::ternary_expression *>(&node)) {
        visit(it->condition);
        visit(it->true_expr);
        visit(it->false_expr);
    } else {
        return false;
    }
    return true;
}

bool visit_expression(statement & node, const lc_visit & visit) {
    if (auto * it = dynamic_cast<jinja::member_expression *>(&node)) {
        visit(it->object);
        visit(it->property);
    } else if (auto * it = dynamic_cast<jinja::call_expression *>(&node)) {
        visit(it->callee);
        lc_each(it->args, visit);
    } else if (auto * it = dynamic_cast<jinja::keyword_argument_expression *>(&node)) {
        visit(it->key);
        visit(it->val);
    } else if (auto * it = dynamic_cast<jinja::slice_expression *>(&node)) {
        some(it->start_expr, visit);
        some(it->stop_expr, visit);
        some(it->step_expr, visit);
    } else if (auto * it = dynamic_cast<jinja::array_literal *>(&node)) {
        lc_each(it->val, visit);
    } else if (auto * it = dynamic_cast<jinja::tuple_literal *>(&node)) {
        lc_each(it->val, visit);
    } else if (auto * it = dynamic_cast<jinja::object_literal *>(&node)) {
        for (auto & [key, item] : it->val) {
            visit(key);
            visit(item);
        }
    } else if (auto * it = dynamic_cast<jinja::spread_expression *>(&node)) {
        visit(it->argument);
    } else {
        return false;
    }
    return true;
}

template <typename... Kinds> bool is_one_of(const statement & node) {
    return ((dynamic_cast<const Kinds *>(&node) != nullptr) || ...);
}

bool is_leaf(const statement & node) {
    return is_one_of<jinja::identifier, jinja::string_literal, jinja::integer_literal, jinja::float_literal,
                     jinja::noop_statement, jinja::comment_statement, jinja::break_statement, jinja::continue_statement,
                     jinja::blank_expression>(node);
}

} // namespace

void lc_each(jinja::statements & list, const lc_visit & visit) {
    for (auto & item : list) {
        visit(item);
    }
}

bool lc_each_child(statement & node, const lc_visit & visit) {
    if (auto * own = dynamic_cast<lc_own_node *>(&node)) {
        own->each_child(visit);
        return true;
    }
    return visit_statement(node, visit) || visit_operation(node, visit) || visit_expression(node, visit) || is_leaf(node);
}
