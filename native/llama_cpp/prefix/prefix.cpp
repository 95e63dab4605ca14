// A common beginning of prompts is read once.
//
// This is llama.cpp's server core (with calls of ours in it, see change.cmake) and what those calls do. A slot
// whose prompt begins like one that another slot is reading waits for it, takes over a copy of its cache, and
// goes on from there; which of them reads is decided anew before each step, so that nobody waits for a request
// that has gone. What a slot has read in the past is copied in the same way to whichever slot runs next, and what
// no slot has any more comes back from memory or disk.
#include "llama_cpp_changes/tools/server/server-context.cpp"

#include "adapters.h"
#include "held.h"
#include "grammar/sampler.h"
#include "options.h"

#include "llama-context.h"

namespace {

// Fewer tokens in common are not worth a step of waiting. And where a request runs alone, its prompt is cut at a
// multiple of it, so that the kernels that take as many tokens at a time (flash attention on the CPU) see the same
// tiles as without sharing. That is of no use after a generated token, which was computed alone, nor beside other
// requests, which share those tiles.
constexpr size_t grain = 64;
// A file has at least this many tokens that no other file has.
constexpr size_t least_on_disk = 256;
// A request that has not read on in this many steps, though there was room for it, is not waited for.
constexpr int most_stalls = 4;

size_t whole_grains(size_t n) { return n / grain * grain; }

// How much of n tokens in common with a slot's own prompt a task may use. The last tokens of both prompts, those after the
// whole tiles, were computed as they would be again, so they need not be cut.
size_t whole_grains(size_t n, const lc_slot_sharing & of, const server_task & task) {
    const size_t last_tokens = whole_grains(task.tokens.size());
    const bool   as_again    = n >= last_tokens && whole_grains(of.read) <= last_tokens;
    return n > of.read || as_again ? n : whole_grains(n);
}

size_t whole_grains(size_t n, const lc_slot_sharing & of) { return n > of.read ? n : whole_grains(n); }

// What is taken over of n tokens in common beside other requests.
size_t if_enough(size_t n) { return n < grain ? 0 : n; }

bool has_media(const server_tokens & tokens) {
    return tokens.has_mtmd && tokens.get_text_tokens().size() != tokens.size();
}

bool is_generation(const server_task & task) {
    return task.type == SERVER_TASK_TYPE_COMPLETION || task.type == SERVER_TASK_TYPE_INFILL;
}

bool is_deterministic(const server_task & task) { return task.params.n_cache_reuse == lc_deterministic; }

bool runs_alone(const server_slot & slot) { return slot.task && is_deterministic(*slot.task); }

// At least one token of a prompt is always left to be read.
size_t all_but_one(size_t n_common, const server_task & task) {
    return std::min(n_common, task.tokens.empty() ? 0 : task.tokens.size() - 1);
}

} // namespace

// Whether this model's memory can be copied. The state of a draft model is more than its cache.
bool lc_prefix::is_possible(const server_context_impl & ctx) {
    return ctx.ctx_dft == nullptr && ctx.ctx_tgt_seq_rm_type != COMMON_CONTEXT_SEQ_RM_TYPE_NO &&
           llama_get_memory(ctx.ctx_tgt) != nullptr;
}

// A cache of all tokens can be cut anywhere; a recurrent state or a window holds for one end only.
bool lc_prefix::needs_exact_end(const server_context_impl & ctx) {
    return ctx.ctx_tgt_seq_rm_type != COMMON_CONTEXT_SEQ_RM_TYPE_PART || ctx.n_swa > 0;
}

// A deterministic request uses what others of its kind have left, but nothing that is being read.
bool lc_prefix::takes_part(const server_context_impl & ctx, const server_slot & slot) {
    return slot.task && is_generation(*slot.task) && slot.task->params.cache_prompt && !slot.task->is_child() &&
           !runs_alone(slot) && !lora_all_alora(slot.lora) && !(ctx.mctx && has_media(slot.task->tokens));
}

bool lc_prefix::is_alone(const server_context_impl & ctx) {
    int n = 0;
    for (const auto & slot : ctx.slots) {
        n += slot.is_processing();
    }
    return n <= 1;
}

// Tokens with which both prompts begin.
size_t lc_prefix::in_common(const server_context_impl & ctx, const server_slot & reader, const server_slot & slot) {
    if (!are_lora_equal(reader.lora, slot.lora)) {
        return 0;
    }
    const size_t n = all_but_one(reader.task->tokens.get_common_prefix(slot.task->tokens), *slot.task);
    return needs_exact_end(ctx) ? whole_grains(n) : n;
}

// How many tokens of a slot's prompt another one has in its cache in a form that can be taken over.
size_t lc_prefix::held_by(const server_context_impl & ctx, const server_slot & other, const server_slot & slot) {
    if (other.lc.shifted || other.prompt.tokens.empty() || !are_lora_equal(other.lora, slot.lora)) {
        return 0;
    }
    const size_t n = all_but_one(other.prompt.tokens.get_common_prefix(slot.task->tokens), *slot.task);
    if (needs_exact_end(ctx)) {
        return n == other.prompt.tokens.size() ? n : 0;
    }
    return is_alone(ctx) ? whole_grains(n, other.lc) : if_enough(n);
}

int lc_prefix::usable(const server_context_impl & ctx, server_slot & slot, int n_common) {
    size_t n = all_but_one((size_t) n_common, *slot.task);
    if (runs_alone(slot)) {
        // the same steps as without a cache
        const size_t step = llama_n_batch(ctx.ctx_tgt); // which may end inside a picture
        n = needs_exact_end(ctx) || has_media(slot.task->tokens) ? 0 : std::min(n, slot.lc.exact) / step * step;
    } else if (needs_exact_end(ctx) || has_media(slot.task->tokens)) {
        n = (size_t) n_common;
    } else {
        n = is_alone(ctx) ? whole_grains(n, slot.lc, *slot.task) : if_enough(n);
    }
    slot.lc.exact = std::min(slot.lc.exact, n);
    return (int) n;
}

void lc_prefix::copy(server_context_impl & ctx, server_slot & from, server_slot & to, size_t n_tokens) {
    SLT_INF(to, "taking over %zu tokens that slot %d has read\n", n_tokens, from.id);
    to.prompt_clear();
    to.mem.seq_cp(from.id, to.id, -1, -1);
    to.prompt = from.prompt.clone();
    to.prompt.tokens.keep_first(n_tokens);
    if (!needs_exact_end(ctx)) {
        to.mem.seq_rm(to.id, to.prompt.tokens.pos_next(), -1);
    }
    to.lc.shifted = false;
    to.lc.read    = std::min(from.lc.read, n_tokens);
    to.lc.exact   = std::min(from.lc.exact, n_tokens);
}

// Whether the slot that is waited for has not read on for some steps.
bool lc_prefix::is_stuck(const server_context_impl & ctx, server_slot & slot, const server_slot & leader) {
    auto &       lc  = slot.lc;
    const size_t now = leader.prompt.tokens.size();
    if (lc.watched != leader.task->id || lc.seen != now) {
        lc.watched = leader.task->id;
        lc.seen    = now;
        lc.stalled = 0;
    } else if (ctx.batch.size() < (int32_t) llama_n_batch(ctx.ctx_tgt)) {
        lc.stalled++;
    }
    return lc.stalled >= most_stalls;
}

// Gives a slot that is about to begin the longest beginning that anybody has, unless somebody is just reading
// more of it. Returns whether it was copied into.
bool lc_prefix::start_or_wait(server_context_impl & ctx, server_slot & slot) {
    const size_t  common = slot.prompt.tokens.get_common_prefix(slot.task->tokens);
    const size_t  own    = needs_exact_end(ctx) ? common :
                           is_alone(ctx)        ? whole_grains(common, slot.lc, *slot.task) :
                                                  if_enough(common);
    size_t        held   = own;
    size_t        coming = 0;
    server_slot * source = nullptr;
    server_slot * leader = nullptr;
    for (auto & other : ctx.slots) {
        if (&other == &slot) {
            continue;
        }
        if (const size_t n = held_by(ctx, other, slot); n > held) {
            held   = n;
            source = &other;
        }
        const bool reads = other.state == SLOT_STATE_PROCESSING_PROMPT ||
                           (other.state == SLOT_STATE_STARTED && other.id < slot.id && other.lc.leader < 0);
        if (!reads || !takes_part(ctx, other)) {
            continue;
        }
        const size_t n      = in_common(ctx, other, slot);
        const bool   passed = needs_exact_end(ctx) && other.prompt.tokens.size() > n;
        if (n > coming && !passed) {
            coming = n;
            leader = &other;
        }
    }
    // the rest of what is being read anyway is worth a step too
    const bool is_worth_it = coming >= held + grain || (source == leader && coming > held);
    if (leader && is_worth_it && !is_stuck(ctx, slot, *leader)) {
        slot.lc.leader = leader->id;
        slot.lc.until  = coming;
        return false;
    }
    if (source == nullptr || held < own + grain) {
        return false;
    }
    copy(ctx, *source, slot, held);
    return true;
}

// Each deterministic request runs in steps of its own; they and everybody else take turns.
void lc_prefix::choose_turn(server_context_impl & ctx) {
    const int  before = ctx.lc_turn;
    int        first = -2, next = -2; // -1 stands for everybody else
    const auto offer = [&](int who) {
        first = first == -2 ? who : std::min(first, who);
        if (who > before) {
            next = next == -2 ? who : std::min(next, who);
        }
    };
    for (const auto & slot : ctx.slots) {
        if (slot.is_processing() && slot.state != SLOT_STATE_WAIT_OTHER && slot.lc.leader < 0) {
            offer(runs_alone(slot) ? slot.id : -1);
        }
    }
    ctx.lc_turn = next != -2 ? next : first != -2 ? first : -1;
}

// After a prompt was read: what may be used again, and what the next process may want.
void lc_prefix::note_what_was_read(server_context_impl & ctx) {
    for (auto & slot : ctx.slots) {
        auto & lc = slot.lc;
        if (slot.task && (!slot.task->params.cache_prompt || !is_generation(*slot.task) || slot.task->is_child())) {
            lc.exact = 0; // nothing of the slot's own was used
        }
        if (slot.state == SLOT_STATE_STARTED || slot.state == SLOT_STATE_PROCESSING_PROMPT) {
            lc.reading = slot.task->tokens.size();
            if (slot.state == SLOT_STATE_PROCESSING_PROMPT) {
                lc.read  = slot.prompt.tokens.size();
                lc.exact = runs_alone(slot) ? lc.read : lc.exact;
            }
            continue;
        }
        const auto & tokens = slot.prompt.tokens;
        if (lc.reading == 0 || slot.state == SLOT_STATE_WAIT_OTHER) {
            continue;
        }
        const size_t n = std::min(lc.reading, tokens.size());
        lc.reading     = 0;
        lc.read        = n;
        if (runs_alone(slot)) {
            lc.exact = n;
        }
        const auto disk = ctx.lc_held ? ctx.lc_held->disk() : nullptr;
        if (!disk || n < least_on_disk || lc.shifted || has_media(tokens) ||
            !are_lora_equal(slot.lora, ctx.params_base.lora_adapters)) {
            continue;
        }
        if (n >= disk->best(tokens.get_tokens()).first + least_on_disk) {
            disk->write(tokens.get_tokens(), lc_memory::state_of(slot));
        }
    }
}

void lc_prefix::plan(server_context_impl & ctx) {
    change_adapters(ctx);
    ctx.lc_turn = is_possible(ctx) ? ctx.lc_turn : -1;
    if (is_possible(ctx)) {
        note_what_was_read(ctx);
        bool copied = false;
        for (auto & slot : ctx.slots) {
            slot.lc.leader = -1;
            slot.lc.shifted |= slot.truncated;
            if (slot.state == SLOT_STATE_STARTED && takes_part(ctx, slot)) {
                copied |= start_or_wait(ctx, slot);
            }
        }
        if (copied) {
            ctx.ctx_tgt->memory_update(false);
        }
    }
    choose_turn(ctx);
    note_step(ctx);
}

// Tells the account of drafts what this step will be about.
void lc_prefix::note_step(server_context_impl & ctx) {
    size_t n_generating = 0;
    bool   reads        = false;
    for (const auto & slot : ctx.slots) {
        const bool has_part = slot.is_processing() && has_turn(ctx, slot);
        n_generating += has_part && slot.state == SLOT_STATE_GENERATING;
        reads |= has_part && (slot.state != SLOT_STATE_GENERATING || !slot.lc_ahead.empty());
    }
    ctx.lc_spec.begin_step(ggml_time_us(), n_generating, reads);
}

// The step must have room for the tokens of all slots. A drafted token has no probabilities to tell.
int lc_prefix::draft_room(const server_context_impl & ctx, const server_slot & slot) {
    if (!slot.can_speculate() || slot.task->params.sampling.n_probs > 0 || runs_alone(slot) || !slot.lc_ahead.empty()) {
        return 0;
    }
    int room = std::min(slot.get_n_draft_max(), (int) (llama_n_batch(ctx.ctx_tgt) / ctx.slots.size()) - 1);
    if (ctx.lc_spec.is_kept) {
        const bool is_cheap = ctx.lc_spec.pay() && ctx.ctx_tgt_seq_rm_type == COMMON_CONTEXT_SEQ_RM_TYPE_PART;
        room = is_cheap && lc_count_forced(slot.smpl.get()) == 0 ? std::min(room, ctx.lc_spec.length()) : 0;
    }
    return std::max(room, 0);
}

void lc_prefix::at_rest(server_context_impl & ctx) {
    change_adapters(ctx);
    ctx.lc_spec.pause();
    if (is_possible(ctx)) {
        note_what_was_read(ctx);
    }
}

bool lc_prefix::has_turn(const server_context_impl & ctx, const server_slot & slot) {
    return ctx.lc_turn == (runs_alone(slot) ? slot.id : -1) &&
           !(slot.state == SLOT_STATE_STARTED && slot.lc.leader >= 0);
}

bool lc_prefix::stops_here(const server_context_impl & ctx, const server_slot & slot) {
    if (!needs_exact_end(ctx)) {
        return false;
    }
    for (const auto & other : ctx.slots) {
        if (other.state == SLOT_STATE_STARTED && other.lc.leader == slot.id &&
            other.lc.until == slot.prompt.tokens.size()) {
            return true;
        }
    }
    return false;
}

// The idle slot whose loss costs least: an empty one, then one whose tokens another slot has too for the most
// part, then the one that was used longest ago.
server_slot * lc_prefix::least_useful(server_context_impl & ctx) {
    server_slot * best = nullptr;
    int           rank = 0;
    for (auto & slot : ctx.slots) {
        if (slot.is_processing()) {
            continue;
        }
        const size_t n         = slot.prompt.tokens.size();
        size_t       elsewhere = 0;
        for (const auto & other : ctx.slots) {
            if (&other != &slot && are_lora_equal(other.lora, slot.lora)) {
                elsewhere = std::max(elsewhere, other.prompt.tokens.get_common_prefix(slot.prompt.tokens));
            }
        }
        const int its_rank = n == 0 ? 0 : 2 * elsewhere >= n ? 1 : 2;
        if (!best || its_rank < rank || (its_rank == rank && slot.t_last_used < best->t_last_used)) {
            best = &slot;
            rank = its_rank;
        }
    }
    return best;
}

server_slot * lc_prefix::choose(server_context_impl & ctx, const server_task & task) {
    change_adapters(ctx); // the task may name one that was loaded since the last step
    if (task.id_slot != -1 || !is_generation(task) || !is_possible(ctx)) {
        return ctx.get_available_slot_as_published(task);
    }
    note_what_was_read(ctx); // by a slot that has ended since the last step
    const size_t n_wanted = task.child_tasks.size() + 1;
    if (ctx.get_free_slots(n_wanted, -1).size() < n_wanted) { // it waits, and an idle slot keeps what it has
        return nullptr;
    }
    const auto & lora = task.params.lora.empty() ? ctx.params_base.lora_adapters :
                                                   ctx.construct_lora_list(task.params.lora);
    server_slot * best = nullptr;
    size_t        most = 0;
    for (auto & slot : ctx.slots) {
        if (slot.is_processing() || slot.lc.shifted || !are_lora_equal(slot.lora, lora)) {
            continue;
        }
        const size_t n = slot.prompt.tokens.get_common_prefix(task.tokens);
        // a slot that would lose most of its tokens is rather copied from
        if (n > most && 2 * n >= slot.prompt.tokens.size() && 10 * n >= task.tokens.size()) {
            most = n;
            best = &slot;
        }
    }
    if (best == nullptr && (best = least_useful(ctx)) == nullptr) {
        return nullptr;
    }
    if (best->lc.shifted) {
        best->prompt_clear();
        best->lc.shifted = false;
    }
    if (ctx.lc_held && best->prompt.tokens.size() >= std::max(2 * most, most + grain)) {
        ctx.lc_held->keep(*best);
    }
    if (ctx.lc_held && task.params.cache_prompt && !is_deterministic(task) && !has_media(task.tokens)) {
        if (!are_lora_equal(best->lora, lora)) {
            best->prompt_clear();
            best->lora = lora;
        }
        best->task_prev.reset(); // its tokens may be others from here on, also if the task does not begin
        recall(ctx, *best, task);
    }
    return best;
}

#include "forced.h"
#include "recall.h"
