# What the build changes in llama.cpp. README.md in this folder gives each change's reason and gain.
#
# llama.cpp's own files stay as they are: a changed file is written into the build folder and compiled in place
# of the original. A place that is not found exactly once ends the configuration when the source is the pinned
# one; with a LLAMA_CPP_SOURCE_DIR of the user's, that change is left out with a warning.
option(LLAMACPP_CHANGES "Compile llama.cpp with the changes of native/llama_cpp (OFF: exactly as published)" ON)
set(llama_cpp_changes_dir "${CMAKE_CURRENT_LIST_DIR}")

function(llama_cpp_change_fails what)
  if(LLAMA_CPP_SOURCE_IS_PINNED)
    message(FATAL_ERROR "native/llama_cpp: ${what}")
  endif()
  message(WARNING "native/llama_cpp: ${what} This change is left out, so llama.cpp is slower than it could be.")
endfunction()

# Writes a copy of one of llama.cpp's files in which each FROM (which must occur once) is its TO, and puts the
# copy's path into `out`; an empty string if the file or a place is missing.
#   llama_cpp_edit(out FILE ggml/src/x.c FROM "..." TO "..." [FROM "..." TO "..."]...)
function(llama_cpp_edit out)
  set(${out} "" PARENT_SCOPE)
  set(file "${ARGV2}")
  if(NOT EXISTS "${LLAMA_CPP_SOURCE_DIR}/${file}")
    llama_cpp_change_fails("${file} is not in this llama.cpp.")
    return()
  endif()
  file(READ "${LLAMA_CPP_SOURCE_DIR}/${file}" text)
  math(EXPR last "${ARGC} - 1")
  foreach(i RANGE 3 ${last} 4)
    math(EXPR i_from "${i} + 1")
    math(EXPR i_to "${i} + 3")
    set(from "${ARGV${i_from}}")
    set(to "${ARGV${i_to}}")
    string(FIND "${text}" "${from}" first)
    string(FIND "${text}" "${from}" final REVERSE)
    if(first EQUAL -1 OR NOT first EQUAL final)
      llama_cpp_change_fails("${file} does not hold exactly once: ${from}")
      return()
    endif()
    string(REPLACE "${from}" "${to}" text "${text}")
  endforeach()
  set(copy "${CMAKE_CURRENT_BINARY_DIR}/llama_cpp_changes/${file}")
  set(before "")
  if(EXISTS "${copy}")
    file(READ "${copy}" before)
  endif()
  if(NOT before STREQUAL text) # an unchanged file keeps its time stamp, so that nothing is compiled again
    file(WRITE "${copy}" "${text}")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${LLAMA_CPP_SOURCE_DIR}/${file}")
  set(${out} "${copy}" PARENT_SCOPE)
endfunction()

# Compiles `new` in place of `old`, one of the target's sources as llama.cpp's CMakeLists.txt names it.
function(llama_cpp_replace_source target old new)
  get_target_property(sources ${target} SOURCES)
  list(FIND sources "${old}" at)
  if(at EQUAL -1)
    llama_cpp_change_fails("${target} is not made of ${old}.")
    return()
  endif()
  list(REMOVE_AT sources ${at})
  list(INSERT sources ${at} "${new}")
  set_property(TARGET ${target} PROPERTY SOURCES "${sources}")
  # llama's other sources are compiled together, several at a time; those that can be changed are not
  set_source_files_properties("${new}" TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The CPU backend's targets: one, or one for each variant of the CPU.
function(llama_cpp_cpu_targets out)
  get_property(targets DIRECTORY "${LLAMA_CPP_SOURCE_DIR}/ggml/src" PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER targets INCLUDE REGEX "^ggml-cpu")
  list(FILTER targets EXCLUDE REGEX "-feats$")
  set(${out} "${targets}" PARENT_SCOPE)
endfunction()

if(LLAMACPP_CHANGES)
  file(GLOB llama_cpp_changes CONFIGURE_DEPENDS "${llama_cpp_changes_dir}/*/change.cmake")
  foreach(change IN LISTS llama_cpp_changes)
    include("${change}")
  endforeach()
endif()
