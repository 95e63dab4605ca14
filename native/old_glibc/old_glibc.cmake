# For wheels: modules that run with a glibc older than the one installed here (release/build_wheel.py gives its stubs,
# libraries that hold nothing but names and versions). The C++ library is as new as the compiler, so it goes inside.
set(LLAMACPP_GLIBC_STUBS "" CACHE PATH "Folder with the stubs of an older glibc to link with (Linux, GCC)")
if(LLAMACPP_GLIBC_STUBS)
  target_link_options(_cpu PRIVATE "-L${LLAMACPP_GLIBC_STUBS}")
  target_link_options(_native PRIVATE "-L${LLAMACPP_GLIBC_STUBS}" -static-libstdc++)
  target_sources(_native PRIVATE old_glibc/missing.c)
endif()
