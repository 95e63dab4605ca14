#include "template_tree.h"

namespace {

using jinja::statement;
using jinja::statement_ptr;

using visit_fn = std::function<void(statement_ptr &)>;

void each(jinja::statements & list, const visit_fn & visit) {
    for (auto & item : list) {
        visit(item);
    }
}

void some(statement_ptr & optional, const visit_fn & visit) {
    if (optional) {
        visit(optional);
    }
}

bool visit_statement(statement & node, const visit_fn & visit) {
    if (auto * it = dynamic_cast<jinja::if_statement *>(&node)) {
        visit(it->test);
        each(it->body, visit);
        each(it->alternate, visit);
    } else if (auto * it = dynamic_cast<jinja::for_statement *>(&node)) {
        visit(it->loopvar);
        visit(it->iterable);
        each(it->body, visit);
        each(it->default_block, visit);
    } else if (auto * it = dynamic_cast<jinja::set_statement *>(&node)) {
        visit(it->assignee);
        some(it->val, visit);
        each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::macro_statement *>(&node)) {
        visit(it->name);
        each(it->args, visit);
        each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::filter_statement *>(&node)) {
        visit(it->filter);
        each(it->body, visit);
    } else if (auto * it = dynamic_cast<jinja::call_statement *>(&node)) {
        visit(it->call);
        each(it->caller_args, visit);
        each(it->body, visit);
    } else {
        return false;
    }
    return true;
}

bool visit_operation(statement & node, const visit_fn & visit) {
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

void visit_expression(statement & node, const visit_fn & visit) {
    if (auto * it = dynamic_cast<jinja::member_expression *>(&node)) {
        visit(it->object);
        visit(it->property);
    } else if (auto * it = dynamic_cast<jinja::call_expression *>(&node)) {
        visit(it->callee);
        each(it->args, visit);
    } else if (auto * it = dynamic_cast<jinja::keyword_argument_expression *>(&node)) {
        visit(it->key);
        visit(it->val);
    } else if (auto * it = dynamic_cast<jinja::slice_expression *>(&node)) {
        some(it->start_expr, visit);
        some(it->stop_expr, visit);
        some(it->step_expr, visit);
    } else if (auto * it = dynamic_cast<jinja::array_literal *>(&node)) {
        each(it->val, visit);
    } else if (auto * it = dynamic_cast<jinja::tuple_literal *>(&node)) {
        each(it->val, visit);
    } else if (auto * it = dynamic_cast<jinja::object_literal *>(&node)) {
        for (auto & [key, item] : it->val) {
            visit(key);
            visit(item);
        }
    } else if (auto * it = dynamic_cast<jinja::spread_expression *>(&node)) {
        visit(it->argument);
    }
}

} // namespace

void lc_each_child(statement & node, const visit_fn & visit) {
    if (!visit_statement(node, visit) && !visit_operation(node, visit)) {
        visit_expression(node, visit);
    }
}
