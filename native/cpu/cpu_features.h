// The CPU features that a compiler may use anywhere in code that is compiled for them, and that the running
// CPU and its operating system must therefore offer. Features that llama.cpp asks for before it uses them
// (AMX, on Linux) are not here.
//
// X(name, macro, leaf, subleaf, register, bit, state): name as Linux prints it; the compiler's macro; where
// cpuid tells of it (register 0 to 3 for eax to edx); the bits of XCR0 that the system must have switched on.
#pragma once

#include <stdint.h>

#define LC_YMM 0x06u // SSE and AVX registers
#define LC_ZMM 0xE6u // also the masks and the wide registers of AVX-512
#define LC_TMM 0x60000u

// clang-format off
#define LC_X86_FEATURES(X)                                              \
    X(sse3, __SSE3__, 1, 0, 2, 0, 0)                                    \
    X(ssse3, __SSSE3__, 1, 0, 2, 9, 0)                                  \
    X(sse4_1, __SSE4_1__, 1, 0, 2, 19, 0)                               \
    X(sse4_2, __SSE4_2__, 1, 0, 2, 20, 0)                               \
    X(movbe, __MOVBE__, 1, 0, 2, 22, 0)                                 \
    X(popcnt, __POPCNT__, 1, 0, 2, 23, 0)                               \
    X(fma, __FMA__, 1, 0, 2, 12, LC_YMM)                                \
    X(avx, __AVX__, 1, 0, 2, 28, LC_YMM)                                \
    X(f16c, __F16C__, 1, 0, 2, 29, LC_YMM)                              \
    X(lzcnt, __LZCNT__, 0x80000001u, 0, 2, 5, 0)                        \
    X(xop, __XOP__, 0x80000001u, 0, 2, 11, LC_YMM)                      \
    X(fma4, __FMA4__, 0x80000001u, 0, 2, 16, LC_YMM)                    \
    X(tbm, __TBM__, 0x80000001u, 0, 2, 21, 0)                           \
    X(bmi1, __BMI__, 7, 0, 1, 3, 0)                                     \
    X(avx2, __AVX2__, 7, 0, 1, 5, LC_YMM)                               \
    X(bmi2, __BMI2__, 7, 0, 1, 8, 0)                                    \
    X(avx512f, __AVX512F__, 7, 0, 1, 16, LC_ZMM)                        \
    X(avx512dq, __AVX512DQ__, 7, 0, 1, 17, LC_ZMM)                      \
    X(avx512ifma, __AVX512IFMA__, 7, 0, 1, 21, LC_ZMM)                  \
    X(avx512cd, __AVX512CD__, 7, 0, 1, 28, LC_ZMM)                      \
    X(avx512bw, __AVX512BW__, 7, 0, 1, 30, LC_ZMM)                      \
    X(avx512vl, __AVX512VL__, 7, 0, 1, 31, LC_ZMM)                      \
    X(avx512vbmi, __AVX512VBMI__, 7, 0, 2, 1, LC_ZMM)                   \
    X(avx512_vbmi2, __AVX512VBMI2__, 7, 0, 2, 6, LC_ZMM)                \
    X(gfni, __GFNI__, 7, 0, 2, 8, 0)                                    \
    X(avx512_vnni, __AVX512VNNI__, 7, 0, 2, 11, LC_ZMM)                 \
    X(avx512_bitalg, __AVX512BITALG__, 7, 0, 2, 12, LC_ZMM)             \
    X(avx512_vpopcntdq, __AVX512VPOPCNTDQ__, 7, 0, 2, 14, LC_ZMM)       \
    X(avx512_vp2intersect, __AVX512VP2INTERSECT__, 7, 0, 3, 8, LC_ZMM)  \
    X(avx512_fp16, __AVX512FP16__, 7, 0, 3, 23, LC_ZMM)                 \
    X(avx_vnni, __AVXVNNI__, 7, 1, 0, 4, LC_YMM)                        \
    X(avx512_bf16, __AVX512BF16__, 7, 1, 0, 5, LC_ZMM)                  \
    X(cmpccxadd, __CMPCCXADD__, 7, 1, 0, 7, 0)                          \
    X(avx_ifma, __AVXIFMA__, 7, 1, 0, 23, LC_YMM)                       \
    X(avx_vnni_int8, __AVXVNNIINT8__, 7, 1, 3, 4, LC_YMM)               \
    X(avx_ne_convert, __AVXNECONVERT__, 7, 1, 3, 5, LC_YMM)             \
    X(avx_vnni_int16, __AVXVNNIINT16__, 7, 1, 3, 10, LC_YMM)            \
    X(apx_f, __APX_F__, 7, 1, 3, 21, 0x80000u)                          \
    X(amx_tile, LC_NEEDS_AMX, 7, 0, 3, 24, LC_TMM)                      \
    X(amx_int8, LC_NEEDS_AMX, 7, 0, 3, 25, LC_TMM)

// X(name, macro, word, bit, key): the word of the auxiliary vector (0: AT_HWCAP, 1: AT_HWCAP2) and its bit on
// Linux; what sysctl calls it on macOS, after "hw.optional.arm.".
#define LC_ARM_FEATURES(X)                                       \
    X(atomics, __ARM_FEATURE_ATOMICS, 0, 8, "FEAT_LSE")          \
    X(fphp, __ARM_FEATURE_FP16_SCALAR_ARITHMETIC, 0, 9, "FEAT_FP16") \
    X(asimdhp, __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, 0, 10, "FEAT_FP16") \
    X(lrcpc, __ARM_FEATURE_RCPC, 0, 15, "FEAT_LRCPC")            \
    X(asimddp, __ARM_FEATURE_DOTPROD, 0, 20, "FEAT_DotProd")     \
    X(sve, __ARM_FEATURE_SVE, 0, 22, "FEAT_SVE")                 \
    X(asimdfhm, __ARM_FEATURE_FP16_FML, 0, 23, "FEAT_FHM")       \
    X(sve2, __ARM_FEATURE_SVE2, 1, 1, "FEAT_SVE2")               \
    X(i8mm, __ARM_FEATURE_MATMUL_INT8, 1, 13, "FEAT_I8MM")       \
    X(bf16, __ARM_FEATURE_BF16_VECTOR_ARITHMETIC, 1, 14, "FEAT_BF16")              \
    X(sme, __ARM_FEATURE_SME, 1, 23, "FEAT_SME")                 \
    X(sme2, __ARM_FEATURE_SME2, 1, 37, "FEAT_SME2")
// clang-format on

#if defined(__x86_64__) || defined(_M_AMD64)
#define LC_X86
#elif defined(__aarch64__) || defined(_M_ARM64)
#define LC_ARM
#endif

// One byte for each feature, in the order above: whether llama.cpp's CPU code was compiled for it.
extern const unsigned char lc_cpu_required[];
