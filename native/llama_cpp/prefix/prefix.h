// A common beginning of prompts is read once: what llama.cpp's server core asks prefix.cpp.
#pragma once

#include "drafts.h"
#include "llama.h"

#include <cstddef>
#include <memory>

struct lc_adapter_changes;
struct lc_memory;
struct server_context;
struct server_context_impl;
struct server_slot;
struct server_task;

// What is remembered about a slot beside llama.cpp's own fields.
struct lc_slot_sharing {
    int    leader  = -1;    // the slot that is reading this one's beginning, while this one waits for it
    size_t until   = 0;     // tokens that both have in common
    int    watched = -1;    // the task that was waited for last
    size_t seen    = 0;     // how far it had come
    int    stalled = 0;     // looks in a row at which it had come no further
    size_t reading = 0;     // tokens of a prompt that is being read; 0 when that has been noted
    size_t read    = 0;     // tokens of the last prompt; what follows them was generated
    size_t exact   = 0;     // tokens that were read in steps of their own, always cut in the same way
    bool   shifted = false; // the context was shifted: the cache is no longer that of its tokens alone
};

struct lc_prefix {
    // The idle slot for a task, with as much of its prompt in the cache as is kept anywhere; null if none is idle.
    static server_slot * choose(server_context_impl & ctx, const server_task & task);
    // Before each step: copies beginnings that have been read, decides who waits for whom, and whose turn it is.
    static void plan(server_context_impl & ctx);
    // When every slot is idle.
    static void at_rest(server_context_impl & ctx);
    // Whether a slot has a part in this step.
    static bool has_turn(const server_context_impl & ctx, const server_slot & slot);
    // How many tokens of its own cache a slot uses, of those it has in common with its prompt.
    static int usable(const server_context_impl & ctx, server_slot & slot, int n_common);
    // Whether a slot must stop reading here for this step, since another one takes over its state.
    static bool stops_here(const server_context_impl & ctx, const server_slot & slot);
    // The next token of an answer: from the model, unless a grammar leaves only one.
    static llama_token sample(server_slot & slot, int index);
    // Appends the tokens that a grammar leaves no choice about; they are read together with the next one. false if
    // the answer has ended.
    template <typename IsWritten>
    static bool append_forced(server_context_impl & ctx, server_slot & slot, IsWritten is_written);
    // How many tokens may be drafted for a slot that generates.
    static int draft_room(const server_context_impl & ctx, const server_slot & slot);
    // A task without LoRA scales of its own follows one that had some.
    static void use_loras_as_loaded(const server_context_impl & ctx, server_slot & slot);
    // Throws unless a slot has what a task has left in it, computed as the model was loaded.
    static void check_left_by(const server_context_impl & ctx, const server_slot & slot, int task);

  private:
    friend struct lc_memory;

    static void   change_adapters(server_context_impl & ctx);
    static bool   is_possible(const server_context_impl & ctx);
    static bool   needs_exact_end(const server_context_impl & ctx);
    static bool   is_alone(const server_context_impl & ctx);
    static bool   takes_part(const server_context_impl & ctx, const server_slot & slot);
    static size_t in_common(const server_context_impl & ctx, const server_slot & reader, const server_slot & slot);
    static size_t held_by(const server_context_impl & ctx, const server_slot & other, const server_slot & slot);
    static bool   is_stuck(const server_context_impl & ctx, server_slot & slot, const server_slot & leader);
    static bool   start_or_wait(server_context_impl & ctx, server_slot & slot);
    static void   copy(server_context_impl & ctx, server_slot & from, server_slot & to, size_t n_tokens);
    static void   note_what_was_read(server_context_impl & ctx);
    static void   choose_turn(server_context_impl & ctx);
    static void   note_step(server_context_impl & ctx);

    static server_slot * least_useful(server_context_impl & ctx);
    static void          recall(server_context_impl & ctx, server_slot & slot, const server_task & task);
};
