# tiled.cpp is compiled through products.cpp, which includes it and takes the place of its three functions.
llama_cpp_cpu_targets(targets)
foreach(target IN LISTS targets)
  llama_cpp_replace_source(${target} ggml-cpu/tiled/tiled.cpp "${llama_cpp_changes_dir}/products/products.cpp")
endforeach()
