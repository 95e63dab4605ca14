// llama-server's options, applied one by one.
//
// common_params_parse() also reads environment variables and a configuration file of the system,
// prints, and ends the process on some errors. Its option table is public, so the handlers are
// called from here and what it does after parsing is done here too.
#include "engine_impl.h"
#include "template_guard.h"

#include "arg.h"
#include "chat.h"

#include <limits>
#include <stdexcept>

namespace {

struct match {
    const common_arg * arg      = nullptr;
    bool               positive = true;
};

match find(const std::vector<common_arg> & args, const std::string & flag) {
    for (const auto & arg : args) {
        for (const char * name : arg.args) {
            if (flag == name) {
                return { &arg, true };
            }
        }
        for (const char * name : arg.args_neg) {
            if (flag == name) {
                return { &arg, false };
            }
        }
    }
    return {};
}

int to_int(const std::string & text) {
    size_t    end   = 0;
    long long value = 0;
    try {
        value = std::stoll(text, &end);
    } catch (const std::exception &) {
        end = 0;
    }
    if (end == 0 || end != text.size() || value < std::numeric_limits<int>::min() ||
        value > std::numeric_limits<int>::max()) {
        throw std::invalid_argument("expected a whole number, got '" + text + "'");
    }
    return (int) value;
}

size_t n_values(const common_arg & arg) {
    return arg.handler_str_str ? 2 : (arg.handler_int || arg.handler_string) ? 1
                                                                             : 0;
}

void apply(common_params & params, const match & found, const std::vector<std::string> & words) {
    const common_arg & arg = *found.arg;
    if (words.size() != 1 + n_values(arg)) {
        throw std::invalid_argument("takes " + std::to_string(n_values(arg)) + " value(s), got " +
                                    std::to_string(words.size() - 1));
    }
    if (arg.handler_void) {
        arg.handler_void(params);
    } else if (arg.handler_bool) {
        arg.handler_bool(params, found.positive);
    } else if (arg.handler_int) {
        arg.handler_int(params, to_int(words[1]));
    } else if (arg.handler_string) {
        arg.handler_string(params, words[1]);
    } else if (arg.handler_str_str) {
        arg.handler_str_str(params, words[1], words[2]);
    }
}

void finish(common_params & params) {
    postprocess_cpu_params(params.cpuparams, nullptr);
    postprocess_cpu_params(params.cpuparams_batch, &params.cpuparams);
    postprocess_cpu_params(params.speculative.draft.cpuparams, &params.cpuparams);
    postprocess_cpu_params(params.speculative.draft.cpuparams_batch, &params.cpuparams_batch);

    if (params.mmproj_use_gpu && params.mmproj_device == nullptr && !params.devices.empty()) {
        params.mmproj_device  = params.devices.front();
        params.mmproj_use_gpu = params.mmproj_device != nullptr;
    }
    if (!params.kv_overrides.empty()) {
        params.kv_overrides.emplace_back();
        params.kv_overrides.back().key[0] = 0;
    }
    if (params.tensor_buft_overrides.size() >= llama_max_tensor_buft_overrides()) {
        throw lc_exception("invalid_option", "more tensors are given a place of their own than the " +
                                                 std::to_string(llama_max_tensor_buft_overrides() - 1) +
                                                 " that llama.cpp can take");
    }
    while (params.tensor_buft_overrides.size() < llama_max_tensor_buft_overrides()) {
        params.tensor_buft_overrides.push_back({ nullptr, nullptr });
    }
    if (!params.speculative.draft.tensor_buft_overrides.empty()) {
        params.speculative.draft.tensor_buft_overrides.push_back({ nullptr, nullptr });
    }
    if (!params.chat_template.empty()) {
        lc_check_template(params.chat_template);
        if (!common_chat_verify_template(params.chat_template, params.use_jinja)) {
            throw lc_exception("invalid_template", "the chat template cannot be parsed");
        }
    }
    if (!params.default_template_kwargs.count("preserve_reasoning")) {
        params.default_template_kwargs["preserve_reasoning"] = "true";
    }
    if (params.n_parallel < 1) {
        params.n_parallel = 4;
    }
    // An encoder sees a whole input in one physical batch.
    if (params.embedding && params.n_batch > params.n_ubatch) {
        params.n_batch = params.n_ubatch;
    }
}

} // namespace

void lc_apply_options(common_params & params, const json & options) {
    auto table = common_params_parser_init(params, LLAMA_EXAMPLE_SERVER);
    for (const auto & option : options) {
        const auto  words = option.get<std::vector<std::string>>();
        const match found = words.empty() ? match{} : find(table.options, words[0]);
        if (found.arg == nullptr) {
            throw lc_exception("unknown_option", words.empty() ? std::string() : words[0]);
        }
        try {
            apply(params, found, words);
        } catch (const std::exception & e) {
            throw lc_exception("invalid_option", words[0] + ": " + e.what());
        }
    }
    finish(params);
}

extern "C" const char * lc_server_options(void) {
    return lc_guard<const char *>(nullptr, [] {
        static const std::string text = [] {
            common_params params;
            auto          table = common_params_parser_init(params, LLAMA_EXAMPLE_SERVER);
            json          all   = json::array();
            for (const auto & arg : table.options) {
                if (arg.is_preset_only) {
                    continue;
                }
                json names = json::array();
                for (const char * name : arg.args) {
                    names.push_back(std::string(name));
                }
                json negated = json::array();
                for (const char * name : arg.args_neg) {
                    negated.push_back(std::string(name));
                }
                json entry        = json::object();
                entry["names"]    = names;
                entry["negated"]  = negated;
                entry["n_values"] = n_values(arg);
                entry["help"]     = arg.help;
                all.push_back(entry);
            }
            return all.dump_safe();
        }();
        return text.c_str();
    });
}
