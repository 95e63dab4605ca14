#include "disk.h"

#include "log.h"

#define XXH_INLINE_ALL
#include "hash/xxhash/xxhash.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <tuple>

namespace fs = std::filesystem;

namespace {

constexpr char     mark[8]    = { 'L', 'C', 'P', 'R', 'E', 'F', 'I', 'X' };
constexpr uint32_t version    = 1;
constexpr uint64_t most_tokens = 1 << 22;
const char *       suffix     = ".prefix";

struct header {
    char     mark[8];
    uint32_t version;
    uint32_t n_tokens;
    uint64_t fingerprint;
    uint64_t n_bytes;
    uint64_t data_hash;
    uint64_t head_hash; // of the fields above and the tokens
};

uint64_t hash(const void * data, size_t size, uint64_t seed = 0) { return XXH64(data, size, seed); }

uint64_t head_hash(const header & head, const std::vector<llama_token> & tokens) {
    const uint64_t fields = hash(&head, offsetof(header, head_hash));
    return hash(tokens.data(), tokens.size() * sizeof(llama_token), fields);
}

std::string hex(uint64_t value) {
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long) value);
    return text;
}

// The header and the tokens of a file that is whole and ours; the stream then stands at the data.
bool read_head(std::ifstream & file, uint64_t size, uint64_t fingerprint, header & head,
               std::vector<llama_token> & tokens) {
    if (!file.read((char *) &head, sizeof(head)) || memcmp(head.mark, mark, sizeof(mark)) != 0 ||
        head.version != version || head.fingerprint != fingerprint || head.n_tokens > most_tokens ||
        size != sizeof(head) + head.n_tokens * sizeof(llama_token) + head.n_bytes) {
        return false;
    }
    tokens.resize(head.n_tokens);
    if (!file.read((char *) tokens.data(), (std::streamsize) (tokens.size() * sizeof(llama_token)))) {
        return false;
    }
    return head.head_hash == head_hash(head, tokens);
}

bool is_temporary(const fs::path & path) { return path.stem().extension() == suffix; }

size_t in_common(const std::vector<llama_token> & a, const std::vector<llama_token> & b) {
    const auto end = a.begin() + (std::ptrdiff_t) std::min(a.size(), b.size());
    return (size_t) (std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

} // namespace

lc_disk::lc_disk(fs::path folder_, uint64_t max_bytes_, std::string fingerprint_) :
    folder(std::move(folder_)), max_bytes(max_bytes_), fingerprint(std::move(fingerprint_)) {
    writer = std::thread([this] { run_writer(); });
}

lc_disk::~lc_disk() {
    {
        std::lock_guard<std::mutex> lock(mutex);
        closing = true;
    }
    changed.notify_all();
    writer.join();
}

void lc_disk::complain(const std::string & what) {
    if (!told) {
        LOG_WRN("prompt cache on disk: %s; requests go on without it\n", what.c_str());
        told = true;
    }
}

fs::path lc_disk::path_for(const std::vector<llama_token> & tokens) const {
    const uint64_t model = hash(fingerprint.data(), fingerprint.size());
    return folder / (hex(model) + "-" + hex(hash(tokens.data(), tokens.size() * sizeof(llama_token))) + suffix);
}

// Reads the heads of files that are new since the last look.
void lc_disk::look() {
    std::error_code error;
    const auto      time = fs::last_write_time(folder, error);
    if (error || time == looked_at) {
        return;
    }
    looked_at = time;
    std::map<fs::path, std::vector<llama_token>> found;
    const uint64_t                               model  = hash(fingerprint.data(), fingerprint.size());
    const std::string                            prefix = hex(model) + "-";
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        const fs::path    path = it->path();
        const std::string name = path.filename().string();
        std::error_code   its_error;
        if (name.compare(0, prefix.size(), prefix) != 0 || path.extension() != suffix ||
            !it->is_regular_file(its_error)) {
            continue;
        }
        if (const auto old = known.find(path); old != known.end()) {
            found.insert(known.extract(old));
            continue;
        }
        header                   head;
        std::vector<llama_token> tokens;
        std::ifstream            file(path, std::ios::binary);
        const uint64_t           size = it->file_size(its_error);
        if (file && !its_error && read_head(file, size, model, head, tokens)) {
            found.emplace(path, std::move(tokens));
        }
    }
    known = std::move(found);
}

std::pair<size_t, fs::path> lc_disk::best(const std::vector<llama_token> & prompt) {
    look();
    std::pair<size_t, fs::path> out{ 0, {} };
    for (const auto & [path, tokens] : known) {
        if (const size_t n = in_common(tokens, prompt); n > out.first) {
            out = { n, path };
        }
    }
    return out;
}

bool lc_disk::read(const fs::path & path, std::vector<llama_token> & tokens, std::vector<uint8_t> & data) {
    known.erase(path); // until it has proved right
    std::error_code error;
    const uint64_t  size = fs::file_size(path, error);
    std::ifstream   file(path, std::ios::binary);
    header          head;
    if (error || !file || !read_head(file, size, hash(fingerprint.data(), fingerprint.size()), head, tokens)) {
        return false;
    }
    data.resize(head.n_bytes);
    if (!file.read((char *) data.data(), (std::streamsize) data.size()) ||
        hash(data.data(), data.size()) != head.data_hash) {
        complain("'" + path.string() + "' is damaged and was deleted");
        fs::remove(path, error);
        return false;
    }
    fs::last_write_time(path, fs::file_time_type::clock::now(), error); // used last goes last
    known.emplace(path, tokens);
    return true;
}

void lc_disk::write(std::vector<llama_token> tokens, std::vector<uint8_t> data) {
    std::lock_guard<std::mutex> lock(mutex);
    if (busy || closing) {
        return;
    }
    busy        = true;
    next_tokens = std::move(tokens);
    next_data   = std::move(data);
    changed.notify_all();
}

void lc_disk::run_writer() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
        changed.wait(lock, [this] { return busy || closing; });
        if (!busy) {
            return;
        }
        const auto tokens = std::move(next_tokens);
        const auto data   = std::move(next_data);
        lock.unlock();
        try {
            store(tokens, data);
        } catch (const std::exception & e) {
            complain(e.what());
        }
        lock.lock();
        busy = false;
    }
}

// Deletes what was not used for longest until that many bytes fit; false if they never will.
bool lc_disk::make_room(uint64_t bytes) {
    std::error_code                                                        error;
    std::vector<std::tuple<fs::file_time_type, uint64_t, fs::path>> files;
    uint64_t                                                               used = 0;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        std::error_code its_error;
        const uint64_t  size = it->file_size(its_error);
        const auto      time = it->last_write_time(its_error);
        if (its_error || !it->is_regular_file(its_error)) {
            continue;
        }
        if (is_temporary(it->path()) && fs::file_time_type::clock::now() - time > std::chrono::hours(1)) {
            fs::remove(it->path(), its_error); // of a process that ended while it wrote
        } else if (it->path().extension() == suffix) {
            files.emplace_back(time, size, it->path());
            used += size;
        }
    }
    std::sort(files.begin(), files.end());
    for (const auto & [time, size, path] : files) {
        if (used + bytes <= max_bytes) {
            break;
        }
        fs::remove(path, error);
        used -= size;
    }
    return used + bytes <= max_bytes;
}

void lc_disk::store(const std::vector<llama_token> & tokens, const std::vector<uint8_t> & data) {
    header head;
    memset(&head, 0, sizeof(head));
    memcpy(head.mark, mark, sizeof(mark));
    head.version     = version;
    head.n_tokens    = (uint32_t) tokens.size();
    head.fingerprint = hash(fingerprint.data(), fingerprint.size());
    head.n_bytes     = data.size();
    head.data_hash   = hash(data.data(), data.size());
    head.head_hash   = head_hash(head, tokens);

    if (!make_room(sizeof(head) + tokens.size() * sizeof(llama_token) + data.size())) {
        return;
    }
    static std::atomic<uint64_t> counter{ std::random_device{}() };
    const fs::path               path      = path_for(tokens);
    const fs::path               temporary = path.string() + "." + hex(counter++ ^ (uint64_t) std::random_device{}());
    std::error_code              error;
    {
        std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
        fs::permissions(temporary, fs::perms::owner_read | fs::perms::owner_write, error);
        file.write((const char *) &head, sizeof(head));
        file.write((const char *) tokens.data(), (std::streamsize) (tokens.size() * sizeof(llama_token)));
        file.write((const char *) data.data(), (std::streamsize) data.size());
        file.close();
        if (!file) {
            fs::remove(temporary, error);
            complain("a file cannot be written in '" + folder.string() + "' (is the disk full?)");
            return;
        }
    }
    fs::rename(temporary, path, error);
    if (error) {
        complain(error.message());
        fs::remove(temporary, error);
    }
}
