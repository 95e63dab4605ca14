// Requests for several answers wait here until enough slots are idle for all of them. Others may go past meanwhile, so that
// no slot is idle while there is work for it; after some of them have, idle slots are kept for who waits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>

struct lc_waiting {
    struct entry {
        server_task task;
        int         overtaken = 0; // younger tasks that have begun meanwhile

        size_t n_wanted() const { return task.child_tasks.size() + 1; }
    };

    std::deque<entry> several;                     // oldest first
    int               returned           = -1;     // the one that was put back into the queue last
    int               returned_overtaken = 0;
    std::deque<int>   cancelled;                   // tasks that no slot had when they were cancelled

    static constexpr size_t most_cancelled = 256;

    // Whether idle slots are kept for the oldest.
    bool keeps(size_t n_slots) const { return !several.empty() && several.front().overtaken >= (int) (2 * n_slots); }

    void put(server_task && task) {
        entry      one{ std::move(task), 0 };
        const auto at = std::find_if(several.begin(), several.end(), [&](const entry & e) { return e.task.id > one.task.id; });
        one.overtaken = one.task.id == returned ? returned_overtaken : 0;
        several.insert(at, std::move(one));
    }

    server_task take(std::deque<entry>::iterator at) {
        returned           = at->task.id;
        returned_overtaken = at->overtaken;
        server_task task   = std::move(at->task);
        several.erase(at);
        return task;
    }

    // The first for which so many idle slots are enough; the end if none is, or may not go past the oldest.
    std::deque<entry>::iterator that_fits(size_t n_idle, size_t n_slots) {
        const auto end = keeps(n_slots) ? several.begin() + 1 : several.end();
        const auto at  = std::find_if(several.begin(), end, [&](const entry & e) { return e.n_wanted() <= n_idle; });
        return at == end ? several.end() : at;
    }

    void begins(int task) {
        for (auto & e : several) {
            e.overtaken += task > e.task.id;
        }
    }

    // A cancellation may come while its task is between two queues, where the server core does not find it.
    bool was_cancelled(int task) {
        const auto at = std::find(cancelled.begin(), cancelled.end(), task);
        if (at == cancelled.end()) {
            return false;
        }
        cancelled.erase(at);
        return true;
    }

    void note_cancelled(int task) {
        cancelled.push_back(task);
        if (cancelled.size() > most_cancelled) {
            cancelled.pop_front();
        }
    }
};

size_t lc_prefix::count_idle(const server_context_impl & ctx) {
    return (size_t) std::count_if(ctx.slots.begin(), ctx.slots.end(), [](const auto & slot) { return !slot.is_processing(); });
}

bool lc_prefix::may_begin(server_context_impl & ctx, server_task & task) {
    auto & waiting = *ctx.lc_waits;
    if (waiting.was_cancelled(task.id)) {
        slot_is_idle(ctx, task.id_slot); // what was about to use one does not
        return false;
    }
    if (task.id_slot != -1) {
        return true;
    }
    const size_t n_idle   = count_idle(ctx);
    const bool   is_later = waiting.keeps(ctx.slots.size()) && task.id > waiting.several.front().task.id;
    if (task.is_parent() && (is_later || n_idle < task.child_tasks.size() + 1)) {
        waiting.put(std::move(task));
        return false;
    }
    if (is_later) {
        ctx.queue_tasks.defer(std::move(task));
        return false;
    }
    if (n_idle > 0) {
        waiting.begins(task.id);
    }
    return true;
}

void lc_prefix::slot_is_idle(server_context_impl & ctx, int id_slot) {
    auto &       waiting = *ctx.lc_waits;
    const size_t n_slots = ctx.slots.size();
    if (const auto at = waiting.that_fits(count_idle(ctx), n_slots); at != waiting.several.end()) {
        ctx.queue_tasks.post(waiting.take(at), true);
    } else if (!waiting.keeps(n_slots)) {
        ctx.queue_tasks.pop_deferred_task(id_slot);
    }
}

void lc_prefix::cancelled(server_context_impl & ctx, int id_task) {
    for (const auto & slot : ctx.slots) {
        if (slot.task && slot.task->id == id_task) {
            return; // the server core frees it
        }
    }
    auto &     waiting = *ctx.lc_waits;
    const auto at      = std::find_if(waiting.several.begin(), waiting.several.end(),
                                      [&](const lc_waiting::entry & e) { return e.task.id == id_task; });
    if (at == waiting.several.end()) {
        waiting.note_cancelled(id_task);
        return;
    }
    waiting.several.erase(at);
    for (size_t i = count_idle(ctx); i > 0; i--) { // those that were kept for it
        slot_is_idle(ctx, -1);
    }
}
