# What a chat template may use up is counted while it renders: bounds.h. Each edit puts a call where llama.cpp's
# engine takes a step, walks through a value, copies text or makes values; three more keep it from dividing by zero,
# from steps of slices that integers do not hold, and from sorting by an order that is none, which std::sort may not be
# given.

llama_cpp_edit(jinja_runtime_cpp FILE common/jinja/runtime.cpp
  FROM [==[#include "lexer.h"
#include "runtime.h"
#include "value.h"
#include "utils.h"
]==]
  TO [==[#include "jinja/lexer.h"
#include "jinja/runtime.h"
#include "jinja/value.h"
#include "jinja/utils.h"
#include "templates/bounds.h"
]==]
  # every statement and expression
  FROM [==[    try {
        return execute_impl(ctx);
]==]
  TO [==[    lc_bounds::running here;
    try {
        return here.checked(*this, execute_impl(ctx));
]==]
  # what is about to be printed
  FROM [==[    gather_string_parts_recursive(result, str);
    return str;
}

static std::string get_line_col]==]
  TO [==[    lc_bounds::check_nesting(result);
    gather_string_parts_recursive(result, str);
    return str;
}

static std::string get_line_col]==]
  FROM [==[    gather_string_parts_recursive(out, str);
]==]
  TO [==[    lc_bounds::check_nesting(out);
    gather_string_parts_recursive(out, str);
]==]
  FROM [==[    gather_string_parts_recursive(result, str);
    return str;
}

value set_statement]==]
  TO [==[    lc_bounds::check_nesting(result);
    gather_string_parts_recursive(result, str);
    return str;
}

value set_statement]==]
  # rounds of a loop, of which each copies the variables
  FROM [==[        context loop_scope(scope);
]==]
  TO [==[        lc_bounds::step();
        context loop_scope(scope);
]==]
  FROM [==[        value_object loop_obj = mk_val<value_object>();
]==]
  TO [==[        lc_bounds::step();
        lc_bounds::values(8);
        value_object loop_obj = mk_val<value_object>();
]==]
  FROM [==[            auto tuple = mk_val<value_tuple>(p);
]==]
  TO [==[            lc_bounds::values(1);
            auto tuple = mk_val<value_tuple>(p);
]==]
  FROM [==[        if (repeat <= 0) {
]==]
  TO [==[        lc_bounds::repeat(str, repeat);
        if (repeat <= 0) {
]==]
  FROM [==[            auto result = mk_val<value_array>();
            for (const auto & item : left_arr) {
]==]
  TO [==[            auto result = mk_val<value_array>();
            lc_bounds::text((left_arr.size() + right_arr.size()) * sizeof(value));
            for (const auto & item : left_arr) {
]==]
  FROM [==[        obj_ptr->insert(prop_name, rhs);
]==]
  TO [==[        lc_bounds::changed(object, rhs);
        obj_ptr->insert(prop_name, rhs);
]==]
)

llama_cpp_edit(jinja_value_cpp FILE common/jinja/value.cpp
  FROM [==[#include "runtime.h"
#include "unicode.h"
#include "value.h"
]==]
  TO [==[#include "jinja/runtime.h"
#include "unicode.h"
#include "jinja/value.h"
#include "templates/bounds.h"
]==]
  # a longer step would leave the range of integers, and a slice would have no end
  FROM [==[    T result;
]==]
  TO [==[    step = std::clamp(step, -len - 1, len + 1);
    T result;
]==]
  FROM [==[        indent = static_cast<int>(val_indent->as_int());
]==]
  TO [==[        indent = lc_bounds::width(val_indent->as_int());
]==]
  FROM [==[            if (is_val<value_array>(it) && it->as_array().size() == 2) {
]==]
  TO [==[            lc_bounds::step();
            lc_bounds::values(1);
            if (is_val<value_array>(it) && it->as_array().size() == 2) {
]==]
  FROM [==[        for (const auto & pair : iter->as_ordered_object()) {
            JJ_DEBUG(]==]
  TO [==[        for (const auto & pair : iter->as_ordered_object()) {
            lc_bounds::step();
            lc_bounds::values(1);
            JJ_DEBUG(]==]
  FROM [==[        iter_first = false;
    }
    return out;
]==]
  TO [==[        iter_first = false;
    }
    lc_bounds::check_nesting(out);
    return out;
]==]
  FROM [==[            auto out = mk_val<value_array>();
            if (step == 0) {
]==]
  TO [==[            auto out = mk_val<value_array>();
            lc_bounds::range(start, stop, step);
            if (step == 0) {
]==]
  FROM [==[            bool res = args.get_pos(0)->val_int % args.get_pos(1)->val_int == 0;
]==]
  TO [==[            const int64_t divisor = args.get_pos(1)->val_int;
            if (divisor == 0) {
                throw raised_exception("divisibleby: division by zero");
            }
            bool res = divisor == -1 || args.get_pos(0)->val_int % divisor == 0;
]==]
  FROM [==[                for (const auto & item : haystack->as_array()) {
]==]
  TO [==[                for (const auto & item : haystack->as_array()) {
                    lc_bounds::step();
]==]
  FROM [==[                token = str.substr(0, pos);
]==]
  TO [==[                lc_bounds::step();
                lc_bounds::values(1);
                token = str.substr(0, pos);
]==]
  FROM [==[                token = str.substr(pos + delim.length());
]==]
  TO [==[                lc_bounds::step();
                lc_bounds::values(1);
                token = str.substr(pos + delim.length());
]==]
  FROM [==[                    std::string new_res;
]==]
  TO [==[                    lc_bounds::text(str.length() + new_str.length() * (str.length() + 1));
                    std::string new_res;
]==]
  FROM [==[                        str.replace(pos, old_str.length(), new_str);
]==]
  TO [==[                        lc_bounds::step();
                        lc_bounds::text(new_str.length());
                        str.replace(pos, old_str.length(), new_str);
]==]
  FROM [==[                const jinja::string arg_str = args.get_pos(arg_idx++)->as_string();
]==]
  TO [==[                const jinja::string arg_str = args.get_pos(arg_idx++)->as_string();
                lc_bounds::text(arg_str.length());
]==]
  FROM [==[                indent.assign(val_width->as_int(), ' ');
]==]
  TO [==[                indent.assign(std::max(lc_bounds::width(val_width->as_int()), 0), ' ');
]==]
  FROM [==[                if ((indented.empty() ? first : (!line.empty() || blank))) {
]==]
  TO [==[                lc_bounds::text(indent.size());
                if ((indented.empty() ? first : (!line.empty() || blank))) {
]==]
  FROM [==[                result += val_arr->as_string().str();
]==]
  TO [==[                lc_bounds::text(val_arr->val_str.length() + delim.size());
                result += val_arr->as_string().str();
]==]
  FROM [==[            arr_editable->push_back(args.get_pos(1));
]==]
  TO [==[            lc_bounds::changed(args.get_pos(0), args.get_pos(1));
            arr_editable->push_back(args.get_pos(1));
]==]
  FROM [==[            std::sort(arr.begin(), arr.end(),[&](]==]
  TO [==[            std::stable_sort(arr.begin(), arr.end(),[&](]==]
  FROM [==[            std::sort(result->val_obj.begin(), result->val_obj.end(), [&](]==]
  TO [==[            std::stable_sort(result->val_obj.begin(), result->val_obj.end(), [&](]==]
  FROM [==[                auto item = mk_val<value_tuple>(pair);
]==]
  TO [==[                lc_bounds::values(1);
                auto item = mk_val<value_tuple>(pair);
]==]
  FROM [==[    auto cmp = [&]() {
]==]
  TO [==[    lc_bounds::step();
    auto cmp = [&]() {
]==]
  # walks through values
  FROM [==[    auto indent_str = [indent, curr_lvl]() -> std::string {
]==]
  TO [==[    lc_bounds::level here;
    lc_bounds::text(item_sep.size() + key_sep.size() + 2 * (size_t) std::max(indent, 0) * (size_t) (curr_lvl + 1));
    auto indent_str = [indent, curr_lvl]() -> std::string {
]==]
  FROM [==[        for (char c : val->as_string().str()) {
]==]
  TO [==[        lc_bounds::text(2 * val->val_str.length());
        for (char c : val->as_string().str()) {
]==]
  FROM [==[std::string value_to_string_repr(const value & val) {
    if (is_val<value_string>(val)) {
]==]
  TO [==[std::string value_to_string_repr(const value & val) {
    lc_bounds::level here;
    if (is_val<value_string>(val)) {
        lc_bounds::text(2 * val->val_str.length());
]==]
  FROM [==[        return val->as_repr();
]==]
  TO [==[        std::string out = val->as_repr();
        lc_bounds::text(out.size());
        return out;
]==]
  FROM [==[    val->stats.used = true;
    if (deep) {
]==]
  TO [==[    lc_bounds::level here;
    val->stats.used = true;
    if (deep) {
]==]
)

llama_cpp_edit(jinja_string_cpp FILE common/jinja/string.cpp
  FROM [==[string & string::append(const string & other) {
    for (const auto & part : other.parts) {
]==]
  TO [==[string & string::append(const string & other) {
    for (const auto & part : other.parts) {
        lc_bounds::text(part.val.size());
]==]
  FROM [==[#include "jinja/value.h"
]==]
  TO [==[#include "jinja/value.h"
#include "templates/bounds.h"
]==]
)

llama_cpp_edit(jinja_caps_cpp FILE common/jinja/caps.cpp
  FROM [==[#include "value.h"
#include "runtime.h"
#include "caps.h"
]==]
  TO [==[#include "jinja/value.h"
#include "jinja/runtime.h"
#include "jinja/caps.h"
#include "templates/bounds.h"
]==]
  FROM [==[    context ctx;
    ctx.is_get_stats = true;
]==]
  TO [==[    lc_bounds::rendering bounded;
    context ctx;
    ctx.is_get_stats = true;
]==]
)

llama_cpp_edit(chat_cpp FILE common/chat.cpp
  FROM [==[    jinja::context ctx(tmpl.source());
]==]
  TO [==[    lc_bounds::rendering bounded;
    jinja::context ctx(tmpl.source());
]==]
  FROM [==[#include "chat.h"
]==]
  TO [==[#include "chat.h"
#include "templates/bounds.h"
]==]
)

if(jinja_runtime_cpp AND jinja_value_cpp AND jinja_string_cpp AND jinja_caps_cpp AND chat_cpp)
  set(LLAMACPP_BOUNDED_TEMPLATES ON)
  foreach(name runtime value string caps)
    llama_cpp_replace_source(llama-common jinja/${name}.cpp "${jinja_${name}_cpp}")
  endforeach()
  llama_cpp_replace_source(llama-common chat.cpp "${chat_cpp}")
  target_sources(llama-common PRIVATE "${llama_cpp_changes_dir}/templates/bounds.cpp")
  target_include_directories(llama-common PRIVATE "${llama_cpp_changes_dir}")
endif()
