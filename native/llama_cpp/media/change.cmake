# Pictures and sounds of strangers: formats that nobody sends are not compiled, and the length of a sound can be
# asked for before it is decoded. A projector's file without one of the tensors that its kind needs is refused.
llama_cpp_edit(mtmd_helper FILE tools/mtmd/mtmd-helper.cpp
  FROM [==[    ma_decoder_uninit(&decoder);
    return true;
}

} // namespace audio_helpers
]==]
  TO [==[    ma_decoder_uninit(&decoder);
    return true;
}

} // namespace audio_helpers

#include "media/sound.inc"
]==]
)
# A prompt may be cut between two pictures: where the second begins, not where the first does.
llama_cpp_edit(server_common FILE tools/server/server-common.cpp
  FROM [==[                find_chunk(n - 1); // will throw]==]
  TO [==[                find_chunk(n); // will throw]==]
)
# Tensors that are looked at before the graph is put together, or by it (present.h has the function).
set(media_present TRUE)
set(media_files clip models/conformer models/deepseekocr models/deepseekocr2 models/gemma4uv models/gemma4v
  models/hunyuanvl models/internvl models/mimo-audio models/nemotron-v2-vl models/qwen3a models/whisper-enc)
foreach(name IN LISTS media_files)
  llama_cpp_edit(media_edited FILE tools/mtmd/${name}.cpp
    EVERY "([^a-z_.>])((ctx->)?model\\.[a-z0-9_]+)->(ne|nb|type)" TO "\\1lc_present(\\2)->\\4")
  set(media_copy_${name} "${media_edited}")
  if(NOT media_edited)
    set(media_present FALSE)
  endif()
endforeach()
if(mtmd_helper AND server_common AND media_present)
  foreach(name IN LISTS media_files)
    llama_cpp_replace_source(mtmd ${name}.cpp "${media_copy_${name}}")
  endforeach()
  llama_cpp_replace_source(server-context server-common.cpp "${server_common}")
  target_include_directories(server-context PRIVATE "${LLAMA_CPP_SOURCE_DIR}/tools/server")
  llama_cpp_replace_source(mtmd mtmd-helper.cpp "${mtmd_helper}")
  target_include_directories(mtmd PRIVATE
    "${llama_cpp_changes_dir}" "${LLAMA_CPP_SOURCE_DIR}/tools/mtmd" "${LLAMA_CPP_SOURCE_DIR}/tools/mtmd/models"
    "${LLAMA_CPP_SOURCE_DIR}/vendor")
  target_compile_options(mtmd PRIVATE
    "$<IF:$<CXX_COMPILER_ID:MSVC>,/FI${llama_cpp_changes_dir}/media/present.h,-include${llama_cpp_changes_dir}/media/present.h>")
  target_compile_definitions(mtmd PRIVATE STBI_NO_PSD STBI_NO_TGA STBI_NO_HDR STBI_NO_PIC STBI_NO_PNM)
  set(LLAMACPP_BOUNDED_MEDIA ON)
endif()
