// Which features llama.cpp's CPU code was compiled for: this file is compiled with the flags of ggml-cpu and
// holds no code, so that it can be read on any CPU.
#include "cpu_features.h"

// Windows gives AMX without being asked, so llama.cpp does not ask.
#if defined(_WIN32) && defined(__AMX_INT8__) && defined(__AVX512VNNI__)
#define LC_NEEDS_AMX 1
#endif

#ifdef _MSC_VER // its /arch implies what it has no macros for
#ifdef __AVX2__
#define __FMA__  1
#define __F16C__ 1
#define __BMI__  1
#define __BMI2__ 1
#endif
#endif

// 1 for a macro that is defined as 1, 0 for one that is not defined.
#define LC_IS_ON(macro)     LC_IS_ON_(macro)
#define LC_IS_ON_(value)    LC_IS_ON__(LC_COMMA_##value)
#define LC_IS_ON__(comma)   LC_THIRD(comma 1, 0, 0)
#define LC_THIRD(a, b, ...) b
#define LC_COMMA_1          0,

const unsigned char lc_cpu_required[] = {
#if defined(LC_X86)
#define X(name, macro, leaf, subleaf, reg, bit, state) LC_IS_ON(macro),
    LC_X86_FEATURES(X)
#elif defined(LC_ARM)
#define X(name, macro, word, bit, key) LC_IS_ON(macro),
    LC_ARM_FEATURES(X)
#endif
        0
};
