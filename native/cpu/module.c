// llamacpp_core.native._cpu: whether this CPU can run llama.cpp as it was compiled. A module of its own, compiled for
// any CPU of its kind, because the answer must be had before a single instruction of the other runs.
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "cpu_features.h"

#include <string.h>

typedef struct {
    const char * name;
    uint32_t     leaf, subleaf;
    int          reg, bit;
    uint32_t     state;
} x86_feature;

typedef struct {
    const char * name;
    int          word, bit;
    const char * key;
} arm_feature;

#if defined(LC_X86)

#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif

#define X(name, macro, leaf, subleaf, reg, bit, state) { #name, leaf, subleaf, reg, bit, state },
static const x86_feature features[] = { LC_X86_FEATURES(X) };
#undef X

static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    memset(out, 0, 4 * sizeof(out[0]));
#ifdef _MSC_VER
    int regs[4];
    __cpuid(regs, (int) (leaf & 0x80000000u));
    if ((uint32_t) regs[0] >= leaf) {
        __cpuidex((int *) out, (int) leaf, (int) subleaf);
    }
#else
    __get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]);
#endif
}

// The register sets that the operating system saves and restores; a feature without its set is an illegal
// instruction.
static uint32_t saved_state(void) {
    uint32_t out[4];
    cpuid(1, 0, out);
    if (!(out[2] >> 27 & 1)) { // OSXSAVE
        return 0;
    }
#ifdef _MSC_VER
    return (uint32_t) _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" /* xgetbv */ : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

static int has(const x86_feature * feature) {
    uint32_t out[4];
    if (feature->subleaf > 0) {
        cpuid(feature->leaf, 0, out);
        if (out[0] < feature->subleaf) {
            return 0;
        }
    }
    uint32_t state = feature->state;
#ifdef __APPLE__ // switches the rest on for a thread when it is first used
    state &= LC_YMM;
#endif
    cpuid(feature->leaf, feature->subleaf, out);
    return (out[feature->reg] >> feature->bit & 1) && (saved_state() & state) == state;
}

#elif defined(LC_ARM)

#define X(name, macro, word, bit, key) { #name, word, bit, key },
static const arm_feature features[] = { LC_ARM_FEATURES(X) };
#undef X

#if defined(__linux__)
#include <sys/auxv.h>

static int has(const arm_feature * feature) {
    return getauxval(feature->word == 0 ? AT_HWCAP : AT_HWCAP2) >> feature->bit & 1;
}

#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has(const arm_feature * feature) {
    char   key[64] = "hw.optional.arm.";
    int    value   = 0;
    size_t size    = sizeof(value);
    strcat(key, feature->key);
    // a name that this system does not know yet tells nothing
    return sysctlbyname(key, &value, &size, NULL, 0) != 0 || value != 0;
}

#else

static int has(const arm_feature * feature) { return feature->name != NULL; } // no way to ask

#endif

#else

static const x86_feature features[] = { { "", 0, 0, 0, 0, 0 } };

static int has(const x86_feature * feature) { return feature->name != NULL; }

#endif

enum { n_features = sizeof(features) / sizeof(features[0]) };

// The names for which `wanted` says yes, as a list. `table` is a level's, as lc_cpu_required.
static PyObject * names(int (*wanted)(const unsigned char *, int), const unsigned char * table) {
    PyObject * list = PyList_New(0);
    for (int i = 0; list != NULL && i < n_features; i++) {
        if (!wanted(table, i)) {
            continue;
        }
        PyObject * name = PyUnicode_FromString(features[i].name);
        if (name == NULL || PyList_Append(list, name) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

// Builds for several levels of CPUs in one wheel: X(name, table), least first. Others have one table without a name.
#ifdef LC_HAS_CPU_LEVELS
#include "cpu_levels.h"
#else
#define LC_CPU_LEVELS(X)
#endif
#define X(name, table) extern const unsigned char table[];
LC_CPU_LEVELS(X)
#undef X

typedef struct {
    const char *          name;
    const unsigned char * required;
} cpu_level;

#define X(name, table) { #name, table },
static const cpu_level levels_here[] = { LC_CPU_LEVELS(X){ NULL, lc_cpu_required } };
#undef X

static int is_required(const unsigned char * table, int i) { return table[i]; }
static int is_missing(const unsigned char * table, int i) { return table[i] && !has(&features[i]); }
static int is_offered(const unsigned char * table, int i) {
    (void) table;
    return features[i].name[0] != '\0' && has(&features[i]);
}

static PyObject * required(PyObject * self, PyObject * ignored) {
    (void) self, (void) ignored;
    return names(is_required, lc_cpu_required);
}

static PyObject * missing(PyObject * self, PyObject * ignored) {
    (void) self, (void) ignored;
    return names(is_missing, lc_cpu_required);
}

static PyObject * levels(PyObject * self, PyObject * ignored) {
    (void) self, (void) ignored;
    PyObject * found = PyDict_New();
    for (const cpu_level * level = levels_here; found != NULL && level->name != NULL; level++) {
        PyObject * needed = names(is_required, level->required);
        if (needed == NULL || PyDict_SetItemString(found, level->name, needed) != 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(needed);
    }
    return found;
}

static PyObject * offered(PyObject * self, PyObject * ignored) {
    (void) self, (void) ignored;
    return names(is_offered, NULL);
}

static PyMethodDef methods[] = {
    { "required", required, METH_NOARGS, "The features that llama.cpp was compiled for, at the lowest level." },
    { "missing", missing, METH_NOARGS, "Those of them that this CPU or its operating system does not offer." },
    { "levels", levels, METH_NOARGS, "By level of CPUs, least first, what its module was compiled for; {} if there is one." },
    { "offered", offered, METH_NOARGS, "The known features that this CPU and its operating system offer." },
    { NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", "What llama.cpp needs of the CPU.", -1, methods, NULL, NULL, NULL, NULL
};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModule_Create(&definition); }
