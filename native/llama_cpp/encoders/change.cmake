# traits.cpp is compiled through encoders.cpp, which includes it and answers for packed weights first.
llama_cpp_cpu_targets(targets)
foreach(target IN LISTS targets)
  llama_cpp_replace_source(${target} ggml-cpu/traits.cpp "${llama_cpp_changes_dir}/encoders/encoders.cpp")
endforeach()
if(NOT GGML_BACKEND_DL)
  set(LLAMACPP_PACKED_PRODUCTS ON)
endif()
