# Modules for several levels of x86-64 CPUs, side by side in one wheel: LLAMACPP_CPU_LEVELS=ON. The plain _native is the
# lowest level, _native_v3 and so on are linked from the same objects, but with ggml-cpu compiled for their level.
# llamacpp_core.native.cpu_level chooses when it is imported.
#
# Whole modules rather than ggml's own variants (GGML_CPU_ALL_VARIANTS): those are shared libraries with public symbols,
# which another llama.cpp in the process would meet, and the changes of native/llama_cpp need one module.
option(LLAMACPP_CPU_LEVELS "Build a module for each level of x86-64 CPUs (for wheels; GCC or Clang)" OFF)

# Least first. AMX is compiled in at the last level and used where the CPU and the system allow it: llama.cpp asks.
set(cpu_levels v2)
if(LLAMACPP_CPU_LEVELS)
  set(cpu_levels v2 v3 v4 vnni amx)
  if(MSVC OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    message(FATAL_ERROR "LLAMACPP_CPU_LEVELS needs GCC or Clang and an x86-64 CPU as the target; "
      "without it, one module is built for what GGML_NATIVE and the other options of ggml say")
  endif()
  set(cpu_flags_v2 -march=x86-64-v2)
  set(cpu_flags_v3 -march=x86-64-v3)
  set(cpu_flags_v4 -march=x86-64-v4)
  set(cpu_flags_vnni ${cpu_flags_v4} -mavx512vnni -mavx512vbmi -mgfni)
  set(cpu_flags_amx ${cpu_flags_vnni} -mavx512bf16 -mamx-tile -mamx-int8)
  # llama.cpp adds no flags of its own: the levels are all there is
  foreach(name NATIVE SSE42 AVX AVX2 BMI2 FMA F16C AVX_VNNI AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16
               AMX_TILE AMX_INT8 AMX_BF16)
    set(GGML_${name} OFF CACHE BOOL "" FORCE)
  endforeach()
endif()

# ggml-cpu once more, as an object library for `level`.
function(cpu_level_objects level)
  get_target_property(sources ggml-cpu SOURCES)
  get_target_property(folder ggml-cpu SOURCE_DIR)
  list(TRANSFORM sources REPLACE "^([^/].*)$" "${folder}/\\1")
  list(FILTER sources EXCLUDE REGEX "\\.h$")
  add_library(ggml-cpu-${level} OBJECT EXCLUDE_FROM_ALL ${sources})
  foreach(property COMPILE_DEFINITIONS COMPILE_FEATURES COMPILE_OPTIONS INCLUDE_DIRECTORIES LINK_LIBRARIES
                   C_STANDARD C_STANDARD_REQUIRED C_EXTENSIONS CXX_STANDARD CXX_STANDARD_REQUIRED CXX_EXTENSIONS)
    get_target_property(value ggml-cpu ${property})
    if(NOT value MATCHES "-NOTFOUND$")
      set_property(TARGET ggml-cpu-${level} PROPERTY ${property} "${value}")
    endif()
  endforeach()
  foreach(kind OPTIONS DEFINITIONS) # of its folder, which are no property of the target
    get_property(value DIRECTORY "${folder}" PROPERTY COMPILE_${kind})
    set_property(TARGET ggml-cpu-${level} APPEND PROPERTY COMPILE_${kind} "${value}")
  endforeach()
  target_compile_options(ggml-cpu-${level} PRIVATE ${cpu_flags_${level}})
endfunction()

# The module of `level`, of _native's objects. Were one of the lowest level's objects taken too, its functions would be
# defined twice and the link would fail.
function(cpu_level_module level)
  python_add_library(_native_${level} MODULE USE_SABI 3.11 WITH_SOABI
    $<TARGET_OBJECTS:_native> $<TARGET_OBJECTS:ggml-cpu-${level}>)
  set_property(TARGET _native_${level} PROPERTY LINKER_LANGUAGE CXX)
  foreach(property LINK_LIBRARIES LINK_OPTIONS LINK_DEPENDS)
    set_property(TARGET _native_${level} PROPERTY ${property} "$<GENEX_EVAL:$<TARGET_PROPERTY:_native,${property}>>")
  endforeach()
  install(TARGETS _native_${level} DESTINATION . COMPONENT python)
endfunction()
