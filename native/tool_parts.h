// Which parts of a chat template write the tools and depend on nothing else.
#pragma once

#include "template_tree.h"

// Whether a template calls a method that changes a list or an object.
bool lc_changes_values(jinja::program & program);

// Calls visit with each place that holds such a part, the largest that there are; it may put another node there.
void lc_each_tool_part(jinja::program & program, const lc_visit & visit);
