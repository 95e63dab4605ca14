// Prompts that Python has written, whose control tokens may come from a caller's text: marks tell.
#include "engine_impl.h"

namespace {

// The text without its marks; control tokens that had one are the caller's.
lc_rendered without_marks(const std::string & text, const std::string & mark, const lc_special_tokens & special) {
    lc_rendered         out;
    std::vector<size_t> starts; // of the characters that a mark follows
    size_t              character = 0;
    for (size_t i = 0; i < text.size();) {
        if (text.compare(i, mark.size(), mark) == 0) {
            starts.push_back(character);
            i += mark.size();
            continue;
        }
        if (((unsigned char) text[i] & 0xc0) != 0x80) {
            character = out.text.size();
        }
        out.text += text[i++];
    }
    out.from_caller.resize(out.text.size(), false);
    for (const size_t start : starts) {
        const lc_special_tokens::entry * found = special.at(out.text, start);
        const size_t                     end   = start + (found != nullptr ? found->text.size() : 1);
        for (size_t i = start; i < end && i < out.from_caller.size(); i++) {
            out.from_caller[i] = true;
        }
    }
    return out;
}

} // namespace

extern "C" {

lc_plan * lc_plan_written(lc_engine_ref * ref, const char * body, size_t size) {
    return lc_guard<lc_plan *>(nullptr, [&] {
        const auto        engine  = lc_hold(ref);
        const json        request = json::parse(std::string(body, size));
        const std::string prefill = request.at("prefill").get<std::string>();
        lc_rendered       written =
            without_marks(request.at("text").get<std::string>(), request.at("mark").get<std::string>(), *engine->special);
        written.text += prefill;
        written.from_caller.resize(written.text.size(), true);
        auto plan = std::make_unique<lc_plan>();
        plan->prompts.push_back(lc_tokenize(engine->vocab, *engine->special, engine->token_cache, written,
                                            request.at("add_bos").get<bool>()));
        plan->prompt = std::move(written.text);
        return plan.release();
    });
}

const char * lc_mark_control_tokens(lc_engine_ref * ref, const char * body, size_t size) {
    return lc_guard<const char *>(nullptr, [&] {
        static thread_local std::string out;
        const auto                      engine  = lc_hold(ref);
        json                            request = json::parse(std::string(body, size));
        lc_taken_apart                  take_apart{ engine->special.get(), request.at("mark").get<std::string>() };
        for (const auto & text : request.at("spared")) {
            take_apart.spared.insert(text.get<std::string>());
        }
        json value = request.at("value");
        take_apart(value);
        json found = json::array();
        for (const std::string & text : take_apart.found) {
            found.push_back(text);
        }
        out = json{ { "value", value }, { "found", found } }.dump_safe();
        return out.c_str();
    });
}
}
