// What a process has for itself, also one that was forked.
//
// A child of a fork has one thread, the one that forked. A lock that another thread held at that moment stays locked in the
// child for ever, and what it guards may be half changed. So a child begins anew: with locks that nobody holds, and with
// nothing behind them. What there was stays in its memory, untouched.
#pragma once

#ifndef _WIN32
#    include <pthread.h>
#endif

class lc_renewed {
  protected:
    lc_renewed() {
#ifndef _WIN32
        if (first() == nullptr) {
            pthread_atfork(nullptr, nullptr, renew_all);
        }
#endif
        next    = first();
        first() = this;
    }
    ~lc_renewed() = default;

    virtual void renew() = 0;

  private:
    static lc_renewed *& first() {
        static lc_renewed * one = nullptr;
        return one;
    }
    static void renew_all() {
        for (lc_renewed * i = first(); i != nullptr; i = i->next) {
            i->renew();
        }
    }

    lc_renewed * next;
};

// A static variable of that kind. It is never taken apart: threads may use it to the end of the process.
template <typename T> class lc_per_process : lc_renewed {
  public:
    T * operator->() const { return value; }
    T & operator*() const { return *value; }

  private:
    void renew() override { value = new T; }

    T * value = new T;
};
