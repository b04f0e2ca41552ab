// SPDX-License-Identifier: MIT
//
// What C++ without its library needs: memory, and calls of pure virtual functions. Exceptions are
// not supported, so new ends the call with code 13 when there is no memory.
#include <mote_guest.h>

#include <stdlib.h>

extern "C" void __cxa_pure_virtual();
extern "C" void __cxa_pure_virtual()
{
	mote_guest_abort(MOTE_GUEST_UNKNOWN_ERROR, "A pure virtual function was called");
}

static void *take(size_t bytes)
{
	void *taken = malloc(bytes ? bytes : 1);
	if (!taken)
		mote_guest_fail(MOTE_GUEST_MALLOC_FAILED, "No memory for new: %zu bytes", bytes);
	return taken;
}

static void *take_aligned(size_t bytes, size_t align)
{
	void *taken = aligned_alloc(align, (bytes + align - 1) / align * align);
	if (!taken)
		mote_guest_fail(MOTE_GUEST_MALLOC_FAILED, "No memory for new: %zu bytes", bytes);
	return taken;
}

namespace std
{
enum class align_val_t : size_t {};
}

#define WEAK __attribute__((weak))

WEAK void *operator new(size_t bytes)
{
	return take(bytes);
}
WEAK void *operator new[](size_t bytes)
{
	return take(bytes);
}
WEAK void *operator new(size_t bytes, std::align_val_t align)
{
	return take_aligned(bytes, size_t(align));
}
WEAK void *operator new[](size_t bytes, std::align_val_t align)
{
	return take_aligned(bytes, size_t(align));
}
WEAK void operator delete(void *at) noexcept
{
	free(at);
}
WEAK void operator delete[](void *at) noexcept
{
	free(at);
}
WEAK void operator delete(void *at, size_t) noexcept
{
	free(at);
}
WEAK void operator delete[](void *at, size_t) noexcept
{
	free(at);
}
WEAK void operator delete(void *at, std::align_val_t) noexcept
{
	free(at);
}
WEAK void operator delete[](void *at, std::align_val_t) noexcept
{
	free(at);
}
WEAK void operator delete(void *at, size_t, std::align_val_t) noexcept
{
	free(at);
}
WEAK void operator delete[](void *at, size_t, std::align_val_t) noexcept
{
	free(at);
}
