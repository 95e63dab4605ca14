# The grammar sampler of this folder takes the place of llama.cpp's in the server core: common/sampling.cpp and the
# server core are compiled with other names for the functions that make one. Their text stays as it is.
add_library(grammar-sampler STATIC
  grammar/automaton.cpp grammar/closer_endings.cpp grammar/constraint.cpp grammar/counter.cpp grammar/endings.cpp grammar/forced.cpp
  grammar/grammar.cpp grammar/mask.cpp grammar/ordinary.cpp grammar/rules.cpp grammar/sampler.cpp
  grammar/vocabulary.cpp)
target_include_directories(grammar-sampler PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_include_directories(grammar-sampler SYSTEM PRIVATE "${LLAMA_CPP_SOURCE_DIR}/src" "${LLAMA_CPP_SOURCE_DIR}/common")
target_link_libraries(grammar-sampler PRIVATE llama-common llama)
if(MSVC)
  target_compile_options(grammar-sampler PRIVATE /W4 /utf-8)
else()
  target_compile_options(grammar-sampler PRIVATE -Wall -Wextra)
endif()
if(NOT LLAMACPP_BUILD_BENCH_TOOLS) # which are as published
  target_link_libraries(llama-common PUBLIC grammar-sampler)
  set_property(SOURCE "${LLAMA_CPP_SOURCE_DIR}/common/sampling.cpp" TARGET_DIRECTORY llama-common APPEND PROPERTY
    COMPILE_DEFINITIONS llama_sampler_init_grammar=lc_llama_sampler_init_grammar
    llama_sampler_init_grammar_lazy_patterns=lc_llama_sampler_init_grammar_lazy_patterns)
  target_compile_definitions(server-context PRIVATE common_sampler_init=lc_common_sampler_init)
endif()
