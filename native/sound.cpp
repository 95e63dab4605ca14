// Where llama.cpp is compiled as published, its decoder of sounds cannot be asked for a length (llama_cpp/media): the same
// decoder, from the same source, is compiled here once more.
#ifndef LLAMACPP_BOUNDED_MEDIA

#define MINIAUDIO_IMPLEMENTATION
#define MA_API static
#define MA_NO_DEVICE_IO
#define MA_NO_ENCODING
#define MA_NO_ENGINE
#define MA_NO_GENERATION
#define MA_NO_NODE_GRAPH
#define MA_NO_RESOURCE_MANAGER
#define ma_atomic_global_lock lc_atomic_global_lock // which is not static, and the decoder's file has one too
#include "vendor/miniaudio/miniaudio.h"

#include <cstring>

namespace audio_helpers {

// What llama.cpp takes for a sound.
bool is_audio_file(const char * data, size_t size) {
    const auto has = [&](size_t at, const char * letters) { return memcmp(data + at, letters, strlen(letters)) == 0; };
    if (size < 12) {
        return false;
    }
    const bool is_frame = data[0] == '\xff' && (data[1] & 0xe0) == 0xe0; // of an MP3
    return (has(0, "RIFF") && has(8, "WAVE")) || has(0, "ID3") || is_frame || has(0, "fLaC");
}

} // namespace audio_helpers

#include "llama_cpp/media/sound.inc"

#endif
