// llama.cpp's parser of model output, for formats that only it knows.
#include "engine_impl.h"

#include "chat.h"

json server_chat_msg_diff_to_json_oaicompat(const common_chat_msg_diff & diff); // server-chat.cpp

extern "C" {

lc_parser * lc_parser_new(lc_plan * plan) {
    return lc_guard<lc_parser *>(nullptr, [&] {
        const json &              fields = plan->params;
        common_chat_parser_params params;
        params.format            = (common_chat_format) fields.value("chat_format", 0);
        params.generation_prompt = fields.value("generation_prompt", "");
        params.reasoning_format  = COMMON_REASONING_FORMAT_DEEPSEEK;
        params.parse_tool_calls  = true;
        if (fields.contains("chat_parser")) {
            params.parser.load(fields.at("chat_parser").get<std::string>());
        }
        return new lc_parser(params);
    });
}

void lc_parser_free(lc_parser * parser) { delete parser; }

const char * lc_parser_feed(lc_parser * parser, const char * text, size_t size, int32_t partial) {
    return lc_guard<const char *>(nullptr, [&] {
        std::vector<common_chat_msg_diff> diffs;
        parser->state.update_chat_msg(std::string(text, size), partial != 0, diffs, /* filter_tool_calls */ true);
        json deltas = json::array();
        for (const auto & diff : diffs) {
            const json delta = server_chat_msg_diff_to_json_oaicompat(diff);
            if (!delta.empty()) {
                deltas.push_back(delta);
            }
        }
        parser->out = deltas.dump_safe();
        return parser->out.c_str();
    });
}
}
