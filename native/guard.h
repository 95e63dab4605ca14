// Exceptions of llama.cpp behind its C API: the generated guards (exception_guards.py) catch them here.
// Plain C declarations: read by cffi too.

// The message of the exception that a guarded function caught on this thread since the last call of
// lc_take_exception(), or null. Valid until the next guarded call on this thread.
const char * lc_take_exception(void);
