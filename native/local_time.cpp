// The local time, for several threads at once.
//
// Templates print the date, and llama.cpp reads it with localtime(), whose result lies in one place for the whole
// process: two prompts that are rendered at the same moment, or another library's call, would write over it. Where
// the linker knows --wrap, llama.cpp's calls come here. (Windows has a place for each thread.)
#ifdef LLAMACPP_WRAP_LOCALTIME

#include <ctime>

extern "C" {

// The linker's name for what llama.cpp calls localtime(). Valid until the same thread's next call.
std::tm * __wrap_localtime(const std::time_t * time);

std::tm * __wrap_localtime(const std::time_t * time) {
    thread_local std::tm result;
    return localtime_r(time, &result);
}
}

#endif
