// Parts of a chat template whose output depends on nothing but the tools, and that output, remembered.
#pragma once

#include "jinja/runtime.h"

#include <map>
#include <mutex>
#include <optional>
#include <string>

// What such parts wrote for one set of tools. A part's output also depends on the request's settings.
class lc_tool_texts {
  public:
    std::optional<jinja::string> find(const jinja::statement * part, const std::string & settings);
    void                         keep(const jinja::statement * part, const std::string & settings, const jinja::string & text);

  private:
    using key = std::pair<const jinja::statement *, std::string>;

    std::mutex                   mutex;
    std::map<key, jinja::string> texts;
    size_t                       bytes = 0;
};

// While it lives, templates that this thread renders look up and keep such parts' output for these tools.
class lc_tool_memo {
  public:
    lc_tool_memo(lc_tool_texts & texts, const jinja::value & tools, const std::string & settings);
    ~lc_tool_memo();
    lc_tool_memo(const lc_tool_memo &)             = delete;
    lc_tool_memo & operator=(const lc_tool_memo &) = delete;

    lc_tool_texts &      texts;
    const jinja::value & tools; // only where the template's variable is this very value, the output is known
    const std::string &  settings;
};

// Finds those parts of a template and has them remember what they write.
void lc_remember_tool_parts(jinja::program & program);
