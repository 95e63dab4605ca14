// How long a sound is, by the decoder that will read it.
#pragma once

#include <cstddef>

// Seconds; negative for what is no sound.
double lc_sound_seconds(const unsigned char * data, size_t size);
