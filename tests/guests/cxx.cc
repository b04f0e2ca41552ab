// SPDX-License-Identifier: MIT
// A guest in C++: classes, templates, constructors of globals, new and delete, local statics.
#include <mote_guest.h>

#include <string.h>

MOTE_IMPORT(const char *, upper, (const char *, text));

namespace
{

struct shape {
	virtual ~shape()
	{
	}
	virtual int32_t area() const = 0;
};

struct square : shape {
	int32_t side;
	explicit square(int32_t s) : side(s)
	{
	}
	int32_t area() const override
	{
		return side * side;
	}
};

struct registry {
	int32_t value;
	registry() : value(42)
	{
	}
};

registry global;

template <typename T> T larger(T a, T b)
{
	return a > b ? a : b;
}

int32_t next()
{
	static registry local;
	return local.value++;
}

} // namespace

MOTE_EXPORT(int32_t, area, (int32_t, side))
{
	shape *made = new square(side);
	int32_t result = made->area();
	delete made;
	return result;
}

MOTE_EXPORT(int64_t, larger_of, (int64_t, a), (int64_t, b))
{
	return larger(a, b);
}

MOTE_EXPORT(int32_t, global_value)
{
	return global.value;
}

MOTE_EXPORT(int32_t, next_value)
{
	return next();
}

MOTE_EXPORT(bool, negate, (bool, value))
{
	return !value;
}

MOTE_EXPORT(mote_string, shout, (const char *, text))
{
	const char *result = upper(text);
	return mote_string{result, strlen(result)};
}

MOTE_EXPORT(const char *, try_shout, (const char *, text))
{
	const char *result;
	return upper_try(&result, text) == 0 ? result : mote_guest_error_text();
}

MOTE_EXPORT(void, new_too_much)
{
	char *made = new char[size_t(1) << 40];
	__asm__ volatile("" : "+r"(made)); // or the compiler leaves out the pair
	delete[] made;
}
