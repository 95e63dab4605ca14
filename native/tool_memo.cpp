#include "tool_memo.h"

#include "tool_parts.h"

namespace {

thread_local const lc_tool_memo * current = nullptr;

// Stands in a template for such a part.
struct remembered : lc_own_node {
    explicit remembered(jinja::statement_ptr && part) : part(std::move(part)) { pos = this->part->pos; }

    std::string type() const override { return part->type(); }
    void        each_child(const lc_visit & visit) override { visit(part); }

    jinja::value execute_impl(jinja::context & ctx) const override {
        if (current == nullptr || ctx.get_val("tools") != current->tools) {
            return part->execute(ctx);
        }
        if (const auto text = current->texts.find(this, current->settings)) {
            return jinja::mk_val<jinja::value_string>(*text);
        }
        jinja::value out = part->execute(ctx);
        if (jinja::is_val<jinja::value_string>(out)) {
            current->texts.keep(this, current->settings, out->val_str);
        }
        return out;
    }

  private:
    jinja::statement_ptr part;
};

} // namespace

std::optional<jinja::string> lc_tool_texts::find(const jinja::statement * part, const std::string & settings) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto                  it = texts.find({ part, settings });
    return it == texts.end() ? std::nullopt : std::optional<jinja::string>(it->second);
}

void lc_tool_texts::keep(const jinja::statement * part, const std::string & settings, const jinja::string & text) {
    constexpr size_t            max_bytes = 1 << 20;
    const size_t                cost      = text.length() + settings.size();
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes + cost > max_bytes) {
        texts.clear();
        bytes = 0;
    }
    if (cost <= max_bytes && texts.emplace(key{ part, settings }, text).second) {
        bytes += cost;
    }
}

lc_tool_memo::lc_tool_memo(lc_tool_texts & texts, const jinja::value & tools, const std::string & settings) :
    texts(texts),
    tools(tools),
    settings(settings) {
    current = this;
}

lc_tool_memo::~lc_tool_memo() { current = nullptr; }

void lc_remember_tool_parts(jinja::program & program) {
    lc_each_tool_part(program, [](jinja::statement_ptr & part) { part = std::make_unique<remembered>(std::move(part)); });
}
