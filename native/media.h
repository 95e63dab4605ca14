// Pictures and sounds in a request, looked at before they are decoded: a small file can hold a huge one.
#pragma once

#include "json.h"
#include "server-common.h"

#include <vector>

// messages: of an OpenAI request
// files: the media in them, in order
// Throws an lc_exception that names the part.
void lc_check_media(const common_json & messages, const std::vector<raw_buffer> & files);
