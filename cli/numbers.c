/* SPDX-License-Identifier: MIT */
/* Numbers with and without units: 0x4000, 64M, 1.5s. See numbers.h and arguments.h. */
#include "numbers.h"

#include "arguments.h"

#include <string.h>

static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

static unsigned base_of(const char *text)
{
	if (text[0] != '0')
		return 10;
	if (text[1] == 'x' || text[1] == 'X')
		return 16;
	if (text[1] == 'o')
		return 8;
	return text[1] == 'b' ? 2 : 10;
}

/** The digits that text starts with; *end is behind them. */
static enum number_result scan(const char *text, uint64_t *number, const char **end)
{
	unsigned base = base_of(text);
	const char *at = base == 10 ? text : text + 2;
	const char *first = at;
	uint64_t value = 0;
	bool is_too_big = false;
	for (; digit_of(*at) < base; at++) {
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_of(*at), &value))
			is_too_big = true;
	}
	*end = at;
	*number = value;
	if (at == first)
		return NUMBER_BAD;
	return is_too_big ? NUMBER_TOO_BIG : NUMBER_OK;
}

enum number_result mote__number_parse(const char *text, uint64_t *number)
{
	const char *end = text;
	enum number_result result = scan(text, number, &end);
	return *end == 0 ? result : NUMBER_BAD;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/** The unit of that name; NULL when there is none. */
static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

bool mote__size_parse(const char *text, uint64_t *bytes, struct parse_error *error)
{
	static const struct unit units[] = {
		{"", 1},           {"K", 1ull << 10},   {"k", 1ull << 10},   {"KiB", 1ull << 10},
		{"M", 1ull << 20}, {"m", 1ull << 20},   {"MiB", 1ull << 20}, {"G", 1ull << 30},
		{"g", 1ull << 30}, {"GiB", 1ull << 30},
	};
	const char *end = text;
	uint64_t number = 0;
	enum number_result result = scan(text, &number, &end);
	const struct unit *unit = find_unit(units, sizeof units / sizeof units[0], end);
	if (result == NUMBER_BAD || !unit)
		return mote__parse_fail(error,
					"\"%.60s\" is not a size: a number and K, M or G, such as "
					"64M",
					text);
	if (result == NUMBER_TOO_BIG || __builtin_mul_overflow(number, unit->factor, &number))
		return mote__parse_fail(error, "%.60s is more than 2^64 bytes", text);
	if (number == 0)
		return mote__parse_fail(error, "a size of 0 is not possible");
	*bytes = number;
	return true;
}

/** Adds the decimals at text (behind the point) of a unit to *ns; returns what is behind them. */
static const char *add_decimals(const char *text, uint64_t factor, uint64_t *ns)
{
	uint64_t sum = 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		factor /= 10;
		sum += factor * (uint64_t)(*text - '0');
	}
	*ns = sum; /* below one unit */
	return text;
}

bool mote__duration_parse(const char *text, uint64_t *ns, struct parse_error *error)
{
	static const struct unit units[] = {
		{"ns", 1},
		{"us", 1000},
		{"ms", 1000000},
		{"s", 1000000000},
		{"m", 60000000000ull},
		{"min", 60000000000ull},
		{"h", 3600000000000ull},
	};
	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return true;
	}
	const char *end = text;
	uint64_t number = 0;
	enum number_result result = scan(text, &number, &end);
	const char *decimals = NULL;
	if (*end == '.' && end[1] >= '0' && end[1] <= '9') {
		decimals = end + 1;
		end = decimals + strspn(decimals, "0123456789");
	}
	const struct unit *unit = find_unit(units, sizeof units / sizeof units[0], end);
	if (result == NUMBER_BAD || !unit)
		return mote__parse_fail(
			error, "\"%.60s\" is not a duration: a number and ns, us, ms, s, m or h",
			text);
	uint64_t fraction = 0;
	if (decimals)
		(void)add_decimals(decimals, unit->factor, &fraction);
	if (result == NUMBER_TOO_BIG || __builtin_mul_overflow(number, unit->factor, &number) ||
	    __builtin_add_overflow(number, fraction, &number))
		return mote__parse_fail(error, "%.60s is too long: at most 584 years", text);
	*ns = number;
	return true;
}

bool mote__count_parse(const char *text, uint64_t max, uint64_t *count, struct parse_error *error)
{
	uint64_t number = 0;
	enum number_result result = mote__number_parse(text, &number);
	if (result == NUMBER_BAD)
		return mote__parse_fail(error, "\"%.60s\" is not a number", text);
	if (result == NUMBER_TOO_BIG || number == 0 || number > max)
		return mote__parse_fail(error, "%.60s is out of range: 1 to %llu", text,
					(unsigned long long)max);
	*count = number;
	return true;
}
