# Says what to install when there is no compiler, before CMake's own error, which does not.
include(CheckLanguage)
foreach(language C CXX)
  check_language(${language})
  if(NOT CMAKE_${language}_COMPILER)
    if(CMAKE_HOST_WIN32)
      set(advice "install 'Build Tools for Visual Studio' with the 'Desktop development with C++' workload, then build from its developer prompt")
    elseif(CMAKE_HOST_APPLE)
      set(advice "run: xcode-select --install")
    else()
      set(advice "Debian, Ubuntu: apt install build-essential;  Fedora: dnf install gcc-c++;  Arch: pacman -S base-devel;  Alpine: apk add build-base")
    endif()
    message(FATAL_ERROR "llamacpp-integrations compiles llama.cpp and needs a C and a C++ compiler; "
      "no ${language} compiler was found. To get one, ${advice}. "
      "If it is installed in an unusual place, set the environment variables CC and CXX.")
  endif()
endforeach()
