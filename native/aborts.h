// llama.cpp's assertions, which end the process, become exceptions wherever one of our guards catches them.
#pragma once

// While one exists, a failed assertion on this thread is a std::runtime_error.
class lc_catch_aborts {
  public:
    lc_catch_aborts() noexcept;
    ~lc_catch_aborts();
    lc_catch_aborts(const lc_catch_aborts &)             = delete;
    lc_catch_aborts & operator=(const lc_catch_aborts &) = delete;
};

void lc_install_abort_handler();
