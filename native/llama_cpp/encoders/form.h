// Which way weights are packed.
#pragma once

namespace lc_encoders {

// As 16-bit integers (words.h), the same for the matrix registers (tiles.h), or bytes (bytes.h).
enum class form { words, tiles, bytes };

constexpr form all_forms[] = { form::words, form::tiles, form::bytes };

inline const char * name_of(form one) {
    return one == form::words ? "words" : one == form::tiles ? "tiles" : "bytes";
}

} // namespace lc_encoders
