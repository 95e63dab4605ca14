# The second text of a cross-encoder's pair is told from the first: types.h.
llama_cpp_edit(pairs_bert FILE src/models/bert.cpp
  FROM [==[#include "models.h"
]==]
  TO [==[#include "models.h"
#include "types.h"
]==]
  FROM [==[        inpL                    = ggml_add(ctx0, inpL, type_row0);
]==]
  TO [==[        ggml_tensor * of_pairs = lc_types_of_pairs(ctx0, res, model, cparams.pooling_type, ubatch);
        inpL = ggml_add(ctx0, inpL, of_pairs ? of_pairs : type_row0);
]==]
)
if(pairs_bert)
  llama_cpp_replace_source(llama "${LLAMA_CPP_SOURCE_DIR}/src/models/bert.cpp" "${pairs_bert}")
  target_include_directories(llama PRIVATE
    "${llama_cpp_changes_dir}/pairs" "${LLAMA_CPP_SOURCE_DIR}/src" "${LLAMA_CPP_SOURCE_DIR}/src/models")
endif()
