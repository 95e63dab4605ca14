// Beginnings of prompts on disk, for the next process.
//
// A file holds the tokens and llama.cpp's bytes for them. It is used only if its mark, its size, both checksums
// and the fingerprint (weights, load options, build) are right, all of which is looked at before llama.cpp
// gets to see it. Files are written under another name and renamed, so nobody reads half of one; any number of
// processes may share a folder. What has not been used for longest goes when the folder is full.
#pragma once

#include "llama.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

class lc_disk {
  public:
    lc_disk(std::filesystem::path folder, uint64_t max_bytes, std::string fingerprint);
    ~lc_disk(); // writes what is still to be written
    lc_disk(const lc_disk &)             = delete;
    lc_disk & operator=(const lc_disk &) = delete;

    // How many tokens the best file has in common with a prompt, and which file that is.
    std::pair<size_t, std::filesystem::path> best(const std::vector<llama_token> & prompt);
    // Its tokens and bytes; false if it is gone or damaged.
    bool read(const std::filesystem::path & path, std::vector<llama_token> & tokens, std::vector<uint8_t> & data);
    // Writes on a thread of its own. Does nothing while another file is being written.
    void write(std::vector<llama_token> tokens, std::vector<uint8_t> data);

  private:
    std::filesystem::path folder;
    uint64_t              max_bytes;
    std::string           fingerprint;

    std::map<std::filesystem::path, std::vector<llama_token>> known;   // tokens of the files that fit
    std::filesystem::file_time_type                           looked_at{}; // the folder's time then
    std::atomic<bool>                                         told{ false }; // of a failure, in the log

    std::mutex               mutex; // guards what follows
    std::condition_variable  changed;
    std::vector<llama_token> next_tokens;
    std::vector<uint8_t>     next_data;
    bool                     busy = false, closing = false;
    std::thread              writer;

    void                  look();
    void                  run_writer();
    void                  store(const std::vector<llama_token> & tokens, const std::vector<uint8_t> & data);
    bool                  make_room(uint64_t bytes);
    void                  complain(const std::string & what);
    std::filesystem::path path_for(const std::vector<llama_token> & tokens) const;
};
