// llama.cpp's parser of model output. Plain C declarations: read by cffi too.
#pragma once

#include "engine.h"

// A parser for the plan's format. Text goes in piece by piece; out come message deltas as a JSON array, valid until
// the next call. partial 0: the text has ended.
lc_parser *  lc_parser_new(lc_plan * plan);
void         lc_parser_free(lc_parser * parser);
const char * lc_parser_feed(lc_parser * parser, const char * text, size_t size, int32_t partial);
