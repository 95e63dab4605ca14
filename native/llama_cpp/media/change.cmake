# Pictures and sounds of strangers: formats that nobody sends are not compiled, and the length of a sound can be
# asked for before it is decoded.
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
if(mtmd_helper AND server_common)
  llama_cpp_replace_source(server-context server-common.cpp "${server_common}")
  target_include_directories(server-context PRIVATE "${LLAMA_CPP_SOURCE_DIR}/tools/server")
  llama_cpp_replace_source(mtmd mtmd-helper.cpp "${mtmd_helper}")
  target_include_directories(mtmd PRIVATE
    "${llama_cpp_changes_dir}" "${LLAMA_CPP_SOURCE_DIR}/tools/mtmd" "${LLAMA_CPP_SOURCE_DIR}/vendor")
  target_compile_definitions(mtmd PRIVATE STBI_NO_PSD STBI_NO_TGA STBI_NO_HDR STBI_NO_PIC STBI_NO_PNM)
  set(LLAMACPP_BOUNDED_MEDIA ON)
endif()
