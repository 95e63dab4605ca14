// What a grammar sampler and whoever started the generation know of each other.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

// How a grammar begins of which every text may end and may go on.
#define LC_OPEN_ENDED "# open-ended\n"

class lc_constraint {
  public:
    int32_t budget = -1; // tokens that the answer may have, the one that ends it included; -1: no bound

    void        fail(const std::string & message);
    std::string error() const; // why the generation was given up; empty if it was not

    // The text of a grammar, marked so that the sampler that is made of it finds the constraint. The server core
    // hands a grammar's text on, and nothing else that could carry it.
    static std::string mark(const std::string & text, const std::shared_ptr<lc_constraint> & constraint);
    // Takes the mark off a text; null if there is none, or the constraint is gone.
    static std::shared_ptr<lc_constraint> of(std::string & text);

  private:
    mutable std::mutex mutex;
    std::string        message;
};
