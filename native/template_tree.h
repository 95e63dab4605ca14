// How to walk the syntax tree of a chat template.
#pragma once

#include "jinja/runtime.h"

#include <functional>

using lc_visit = std::function<void(jinja::statement_ptr &)>;

// A node of ours in such a tree.
struct lc_own_node : jinja::expression {
    virtual void each_child(const lc_visit & visit) = 0;
};

// Calls visit with every place in a node that holds a node, in the order of the template.
// False: a kind of node that is not known here.
bool lc_each_child(jinja::statement & node, const lc_visit & visit);

// The same for each of a list.
void lc_each(jinja::statements & list, const lc_visit & visit);
