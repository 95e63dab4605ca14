# The pinned llama.cpp. fetch_llama_cpp.py reads these values too: they are here and nowhere else.
# The source is the vendor/llama.cpp folder of a source archive on the Python package index; nothing
# else of that archive is used.
set(LLAMA_CPP_SDIST_PACKAGE "llama-cpp-python")
set(LLAMA_CPP_SDIST_VERSION "0.3.36")
set(LLAMA_CPP_SDIST_SHA256  "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
set(LLAMA_CPP_COMMIT        "0c1e57098bba43ac29e6e3b677cdceebdd22334f")

# Sets LLAMA_CPP_SOURCE_DIR in the caller's scope: what the user named (a define, or the environment),
# else the pinned source, fetched on first use.
function(llama_cpp_find_source)
  set(source "${LLAMA_CPP_SOURCE_DIR}")
  if(NOT source)
    set(source "$ENV{LLAMA_CPP_SOURCE_DIR}")
  endif()
  if(source)
    get_filename_component(source "${source}" ABSOLUTE)
    if(NOT EXISTS "${source}/include/llama.h")
      message(FATAL_ERROR "LLAMA_CPP_SOURCE_DIR is '${source}', which is not a llama.cpp checkout "
        "(it has no include/llama.h). Point it at one, or unset it to use the pinned source.")
    endif()
    message(STATUS "llama.cpp: ${source} (LLAMA_CPP_SOURCE_DIR)")
  else()
    execute_process(
      COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/fetch_llama_cpp.py"
      OUTPUT_VARIABLE source ERROR_VARIABLE complaint RESULT_VARIABLE status
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "${complaint}")
    endif()
    file(TO_CMAKE_PATH "${source}" source)
    # what llama.cpp would otherwise ask of git, which knows nothing about an unpacked archive
    string(SUBSTRING "${LLAMA_CPP_COMMIT}" 0 9 commit)
    set(LLAMA_BUILD_COMMIT "${commit}" PARENT_SCOPE)
    set(LLAMA_CPP_SOURCE_IS_PINNED ON PARENT_SCOPE)
    message(STATUS "llama.cpp: ${source} (pinned, commit ${commit})")
  endif()
  set(LLAMA_CPP_SOURCE_DIR "${source}" PARENT_SCOPE)
endfunction()
