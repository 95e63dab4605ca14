# amx/mmq.cpp is compiled with tiles.h, and asks before each product whether the tiles are configured still.
llama_cpp_edit(amx_mmq FILE ggml/src/ggml-cpu/amx/mmq.cpp
  FROM "#include \"amx.h\"\n#include \"mmq.h\"\n"
  TO "#include \"${CMAKE_CURRENT_LIST_DIR}/tiles.h\"\n#include \"amx/amx.h\"\n#include \"amx/mmq.h\"\n"
  FROM "    if (done) {\n"
  TO "#if defined(__x86_64__) && defined(__AMX_TILE__)\n    if (done && lc_tiles_are_ours()) {\n#else\n    if (done) {\n#endif\n")
# Where the system refuses AMX, the AVX-512 code takes over: a line for the log, not for stderr. f16 stays in ordinary
# memory: what is computed for it in AMX's is no AMX, and slower.
llama_cpp_edit(amx_amx FILE ggml/src/ggml-cpu/amx/amx.cpp
  FROM "#include \"amx.h\"\n#include \"common.h\"\n#include \"mmq.h\"\n"
  TO "#include \"amx/amx.h\"\n#include \"amx/common.h\"\n#include \"amx/mmq.h\"\n"
  FROM "fprintf(stderr, \"AMX is not ready to be used!\\n\")"
  TO "GGML_LOG_INFO(\"the CPU or the system does not allow AMX: computing without it\\n\")"
  FROM "            case GGML_TYPE_F16:\n                alignment = 16;\n                break;\n"
  TO "")
llama_cpp_cpu_targets(targets)
foreach(target IN LISTS targets)
  foreach(name mmq amx)
    if(amx_${name})
      llama_cpp_replace_source(${target} ggml-cpu/amx/${name}.cpp "${amx_${name}}")
    endif()
  endforeach()
endforeach()
