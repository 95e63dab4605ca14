// How to walk the syntax tree of a chat template.
#pragma once

#include "jinja/runtime.h"

#include <functional>

// Calls visit with every place in a node that holds a node, in the order in which they stand in the template.
void lc_each_child(jinja::statement & node, const std::function<void(jinja::statement_ptr &)> & visit);
