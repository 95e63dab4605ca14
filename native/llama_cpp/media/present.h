// Included before llama.cpp's own code for pictures and sounds: a tensor that a projector's file lacks is an error.
//
// Which tensors a kind of projector needs is known only to the code that puts its graph together, and that takes most of
// them for present. The graph is built once when a projector is loaded, so a file without one of them is refused then.
#pragma once

#include "ggml.h"

#include <stdexcept>

inline ggml_tensor * lc_present(ggml_tensor * tensor) {
    if (tensor == nullptr) {
        throw std::runtime_error("the projector's file lacks a tensor that its kind needs");
    }
    return tensor;
}

// A macro's name in its own text is the function.
#define ggml_add(ctx, a, b)               ggml_add(ctx, lc_present(a), lc_present(b))
#define ggml_sub(ctx, a, b)               ggml_sub(ctx, lc_present(a), lc_present(b))
#define ggml_mul(ctx, a, b)               ggml_mul(ctx, lc_present(a), lc_present(b))
#define ggml_div(ctx, a, b)               ggml_div(ctx, lc_present(a), lc_present(b))
#define ggml_mul_mat(ctx, a, b)           ggml_mul_mat(ctx, lc_present(a), lc_present(b))
#define ggml_mul_mat_id(ctx, a, b, c)     ggml_mul_mat_id(ctx, lc_present(a), lc_present(b), lc_present(c))
#define ggml_get_rows(ctx, a, b)          ggml_get_rows(ctx, lc_present(a), lc_present(b))
#define ggml_concat(ctx, a, b, ...)       ggml_concat(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_repeat(ctx, a, b)            ggml_repeat(ctx, lc_present(a), lc_present(b))
#define ggml_repeat_4d(ctx, a, ...)       ggml_repeat_4d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_conv_1d(ctx, a, b, ...)      ggml_conv_1d(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_conv_1d_ph(ctx, a, b, ...)   ggml_conv_1d_ph(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_conv_1d_dw(ctx, a, b, ...)   ggml_conv_1d_dw(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_conv_2d(ctx, a, b, ...)      ggml_conv_2d(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_conv_2d_dw(ctx, a, b, ...)   ggml_conv_2d_dw(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_conv_2d_direct(ctx, a, b, ...) ggml_conv_2d_direct(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_im2col(ctx, a, b, ...)       ggml_im2col(ctx, lc_present(a), lc_present(b), __VA_ARGS__)
#define ggml_cast(ctx, a, ...)            ggml_cast(ctx, lc_present(a), __VA_ARGS__)
#define ggml_cont(ctx, a)                 ggml_cont(ctx, lc_present(a))
#define ggml_transpose(ctx, a)            ggml_transpose(ctx, lc_present(a))
#define ggml_permute(ctx, a, ...)         ggml_permute(ctx, lc_present(a), __VA_ARGS__)
#define ggml_reshape_1d(ctx, a, ...)      ggml_reshape_1d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_reshape_2d(ctx, a, ...)      ggml_reshape_2d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_reshape_3d(ctx, a, ...)      ggml_reshape_3d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_reshape_4d(ctx, a, ...)      ggml_reshape_4d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_view_1d(ctx, a, ...)         ggml_view_1d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_view_2d(ctx, a, ...)         ggml_view_2d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_view_3d(ctx, a, ...)         ggml_view_3d(ctx, lc_present(a), __VA_ARGS__)
#define ggml_interpolate(ctx, a, ...)     ggml_interpolate(ctx, lc_present(a), __VA_ARGS__)
