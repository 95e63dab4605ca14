# ops.cpp is compiled through attention.cpp, which includes it and takes its flash attention's place.
llama_cpp_cpu_targets(targets)
foreach(target IN LISTS targets)
  llama_cpp_replace_source(${target} ggml-cpu/ops.cpp "${llama_cpp_changes_dir}/attention/attention.cpp")
endforeach()
