#include "media.h"

#include "error.h"

#include "llama_cpp/media/sound.h"

#include "vendor/stb/stb_image.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace {

// Of one picture, and of all in a request together: 8192 by 8192, 3 bytes each, some copies.
constexpr int64_t max_pixels     = 8192 * 8192;
constexpr int64_t max_pixels_all = 4 * max_pixels;
// Of all sounds in a request together.
constexpr double max_seconds = 3600;

// A part of a message that is no text.
struct place {
    std::string path;
    bool        is_sound;
};

std::vector<place> places(const common_json & messages) {
    std::vector<place> out;
    for (size_t i = 0; i < messages.size(); i++) {
        if (!messages[i].contains("content") || !messages[i].at("content").is_array()) {
            continue;
        }
        const common_json & parts = messages[i].at("content");
        for (size_t k = 0; k < parts.size(); k++) {
            const std::string type = parts[k].at("type").get<std::string>();
            if (type != "text") {
                const std::string path = "messages[" + std::to_string(i) + "].content[" + std::to_string(k) + "]";
                out.push_back({ path, type == "input_audio" });
            }
        }
    }
    return out;
}

[[noreturn]] void refuse(const place & where, const std::string & why) {
    throw lc_exception("invalid_message", where.path + ": " + why);
}

// The decoder knows others, which nobody sends.
bool is_known_format(const raw_buffer & file) {
    for (const std::string begin : { "\x89PNG", "\xff\xd8\xff", "GIF8", "BM" }) {
        if (file.size() > begin.size() && std::equal(begin.begin(), begin.end(), (const char *) file.data())) {
            return true;
        }
    }
    return false;
}

int64_t pixels_of(const place & where, const raw_buffer & file) {
    int width = 0, height = 0, channels = 0;
    if (!is_known_format(file) || !stbi_info_from_memory(file.data(), (int) file.size(), &width, &height, &channels) || width < 1 || height < 1) {
        refuse(where, "is no picture that can be read: give a PNG, JPEG, GIF or BMP file");
    }
    const int64_t pixels = (int64_t) width * height;
    if (pixels > max_pixels) {
        refuse(where, "has " + std::to_string(width) + " by " + std::to_string(height) + " pixels, and at most " +
                          std::to_string(max_pixels) + " are read: make the picture smaller");
    }
    return pixels;
}

double seconds_of(const place & where, const raw_buffer & file) {
    const double seconds = lc_sound_seconds(file.data(), file.size());
    if (seconds < 0) {
        refuse(where, "is no sound that can be read: give a WAV, MP3 or FLAC file");
    }
    return seconds;
}

} // namespace

void lc_check_media(const common_json & messages, const std::vector<raw_buffer> & files) {
    const std::vector<place> parts   = places(messages);
    int64_t                  pixels  = 0;
    double                   seconds = 0;
    for (size_t i = 0; i < files.size() && i < parts.size(); i++) {
        if (files[i].size() > INT32_MAX) {
            refuse(parts[i], "is larger than 2 GiB");
        }
        if (!parts[i].is_sound) {
            pixels += pixels_of(parts[i], files[i]);
            if (pixels > max_pixels_all) {
                refuse(parts[i], "the pictures of the request have more than " + std::to_string(max_pixels_all) +
                                     " pixels together: make them smaller, or send fewer");
            }
            continue;
        }
        seconds += seconds_of(parts[i], files[i]);
        if (!(seconds <= max_seconds)) {
            refuse(parts[i], "the sounds of the request last more than " + std::to_string((int) max_seconds) +
                                 " seconds together: cut them into pieces");
        }
    }
}
