// Functions that Python implements and C calls. Read by cffi only (generate_bindings.py), never by a C
// compiler: `extern "Python"` is cffi's. Python fills them in with ffi.def_extern().
// clang-format off

// llama_sampler_i of a sampler written in Python
extern "Python" const char * lcpy_sampler_name(const struct llama_sampler * smpl);
extern "Python" void lcpy_sampler_accept(struct llama_sampler * smpl, llama_token token);
extern "Python" void lcpy_sampler_apply(struct llama_sampler * smpl, llama_token_data_array * cur_p);
extern "Python" void lcpy_sampler_reset(struct llama_sampler * smpl);
extern "Python" struct llama_sampler * lcpy_sampler_clone(const struct llama_sampler * smpl);
extern "Python" void lcpy_sampler_free(struct llama_sampler * smpl);

// llama_progress_callback: false stops loading
extern "Python" bool lcpy_progress(float progress, void * user_data);
