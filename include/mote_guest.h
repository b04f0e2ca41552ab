/* SPDX-License-Identifier: MIT */
/*
 * mote_guest.h: what a guest program is written against.
 *
 *	#include <mote_guest.h>
 *
 *	MOTE_IMPORT(const char *, upper, (const char *, text));
 *
 *	MOTE_EXPORT(int32_t, add, (int32_t, a), (int32_t, b))
 *	{
 *		return a + b;
 *	}
 *
 *	MOTE_EXPORT(const char *, greet, (const char *, name))
 *	{
 *		mote_guest_log(MOTE_LOG_INFO, "greeting %s", name);
 *		return upper(name);
 *	}
 *
 * Build it with mote-cc. A declaration states names and types once: what the host sees, what the
 * runtime checks before a function runs and the C function all come from it.
 *
 * Types: int32_t, uint32_t, int64_t, uint64_t, float, double, bool, const char * (NUL-terminated),
 * struct mote_string, struct mote_bytes; results also void. Up to 11 parameters.
 *
 * Life: the host starts the program once (constructors run, then mote_guest_init()), then calls
 * exported functions, one at a time. Between calls it may take a snapshot, and continue from it
 * later, many times over. There are no threads, no files and no signals; standard output and
 * standard error go to the host's print function.
 *
 * Errors: mote_guest_fail() ends the current call with an error that the host's caller gets; the
 * program goes on living. mote_guest_abort(), a failed assert(), exit(), abort() and faults end the
 * program: the host can only restore a snapshot.
 *
 * Memory: parameters, results of host functions and mote_guest_scratch() live until the end of the
 * call and must not be written to (scratch may). A result may point anywhere; it is copied.
 * malloc() is musl's own, on the heap that the host configured.
 */
#ifndef MOTE_GUEST_H
#define MOTE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote_abi.h>

#ifdef __cplusplus
extern "C" {
#define MOTE__NORETURN [[noreturn]]
#else
#define MOTE__NORETURN _Noreturn
#endif

#define MOTE__PRINTF(text, first) __attribute__((format(printf, text, first)))

/* ---- Life ----------------------------------------------------------------------------------- */

/** Defined by the program if it wants to: runs once, after constructors, before any call. What it
 * prepares is part of every snapshot. Host functions may be called. */
void mote_guest_init(void);

/* ---- Errors --------------------------------------------------------------------------------- */

/** End the current call: its caller gets code (enum mote_guest_code or your own, not 0) and the
 * formatted text, cut at 1000 bytes. No destructor or cleanup runs. In mote_guest_init(): abort. */
MOTE__NORETURN void mote_guest_fail(uint64_t code, const char *format, ...) MOTE__PRINTF(2, 3);

/** End the program: the host gets code (below 255) and text, cut at 1000 bytes. */
MOTE__NORETURN void mote_guest_abort(uint8_t code, const char *text);

/** The text that came with the last failure of a ..._try(). Until the end of the call. */
const char *mote_guest_error_text(void);

/* ---- Output --------------------------------------------------------------------------------- */

/** Send a log record (format as for printf) to the host, unless it does not want that level. */
#define mote_guest_log(level, ...)                                                       \
	do {                                                                             \
		if ((uint32_t)(level) <= mote_guest_log_level())                         \
			mote__guest_log((uint32_t)(level), __FILE__, __LINE__, __func__, \
					__VA_ARGS__);                                    \
	} while (0)

/** The most verbose level that the host wants; it may change from call to call. */
uint32_t mote_guest_log_level(void);

/** Send text to the host's print function, without buffering. What is not UTF-8 is replaced. */
void mote_guest_print(const char *text);

/* ---- What the host gave --------------------------------------------------------------------- */

/** The bytes that the host attached to the program; writable if the host said so. Read-only ones of
 * 2 MiB and more begin at a multiple of 2 MiB, but not on other hosts. */
struct mote_bytes mote_guest_init_data(void);

/** Fill len bytes with random numbers fit for keys. Never the same twice, also not in two programs
 * that continue from one snapshot. A host that does not confine the program gives too little for
 * keys: mote_sandbox_create() is such a host only when it was told to ignore_extensions. */
void mote_guest_random(void *to, size_t len);

/** Another number after every restore and fork: when it differs from last time, identities and keys
 * that this program holds in memory are no longer its own. */
uint64_t mote_guest_generation(void);

/* ---- Memory --------------------------------------------------------------------------------- */

/** Memory until the end of the call, aligned to 16, uninitialised. Never NULL: ends the call with
 * code 13 when there is none. */
void *mote_guest_scratch(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));

/* ---- Implementation of the macros ----------------------------------------------------------- */

/* A struct mote_abi_function whose addresses are pointers, so that it is constant data in C and in
 * C++. */
struct mote__guest_function {
	const char *name;
	void (*target)(const struct mote_value *in, struct mote_value *out);
	uint32_t name_bytes;
	uint8_t result;
	uint8_t parameter_count;
	uint8_t reserved[2];
	uint8_t parameters[MOTE_ABI_MAX_PARAMETERS];
	uint64_t reserved2;
};

/* Length of a string whose length is still to be measured. */
#define MOTE__MEASURE SIZE_MAX

void mote__guest_log(uint32_t level, const char *file, uint32_t line, const char *function,
		     const char *format, ...) MOTE__PRINTF(5, 6);
/* Call a host function: 0, or an error code. *out is written only on success. */
int mote__guest_call(const struct mote__guest_function *import, struct mote_value *in,
		     struct mote_value *out);
/* The same; a failure ends the guest's call with the same error. */
void mote__guest_call_or_end(const struct mote__guest_function *import, struct mote_value *in,
			     struct mote_value *out);

#ifdef __cplusplus
} /* extern "C" */
#endif

/* Lists of parameters: SPLIT gives name, count, (parameters); MAP applies m(i, parameter) to each
 * and puts s() between. */
#define MOTE__CAT(a, b)  MOTE__CAT_(a, b)
#define MOTE__CAT_(a, b) a##b
/* One for each depth: a macro does not expand inside itself. */
#define MOTE__APPLY(m, ...)     m(__VA_ARGS__)
#define MOTE__APPLY_MAP(m, ...) m(__VA_ARGS__)
#define MOTE__APPLY_ONE(m, ...) m(__VA_ARGS__)
#define MOTE__UNWRAP(...)       __VA_ARGS__
#define MOTE__COMMA()           ,
#define MOTE__NOTHING()
#define MOTE__COUNT(...)                                                                         \
	MOTE__COUNT_(__VA_ARGS__, too_many_parameters, too_many_parameters, too_many_parameters, \
		     too_many_parameters, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)
#define MOTE__COUNT_(z, a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, n, ...) n

#define MOTE__SPLIT(...) MOTE__CAT(MOTE__SPLIT_, MOTE__COUNT(__VA_ARGS__))(__VA_ARGS__)
#define MOTE__SPLIT_too_many_parameters(n, ...) \
	_Pragma("GCC error \"a function has at most 11 parameters\"") n, 0, ()
#define MOTE__SPLIT_0(n)                                   n, 0, ()
#define MOTE__SPLIT_1(n, a)                                n, 1, (a)
#define MOTE__SPLIT_2(n, a, b)                             n, 2, (a, b)
#define MOTE__SPLIT_3(n, a, b, c)                          n, 3, (a, b, c)
#define MOTE__SPLIT_4(n, a, b, c, d)                       n, 4, (a, b, c, d)
#define MOTE__SPLIT_5(n, a, b, c, d, e)                    n, 5, (a, b, c, d, e)
#define MOTE__SPLIT_6(n, a, b, c, d, e, f)                 n, 6, (a, b, c, d, e, f)
#define MOTE__SPLIT_7(n, a, b, c, d, e, f, g)              n, 7, (a, b, c, d, e, f, g)
#define MOTE__SPLIT_8(n, a, b, c, d, e, f, g, h)           n, 8, (a, b, c, d, e, f, g, h)
#define MOTE__SPLIT_9(n, a, b, c, d, e, f, g, h, i)        n, 9, (a, b, c, d, e, f, g, h, i)
#define MOTE__SPLIT_10(n, a, b, c, d, e, f, g, h, i, j)    n, 10, (a, b, c, d, e, f, g, h, i, j)
#define MOTE__SPLIT_11(n, a, b, c, d, e, f, g, h, i, j, k) n, 11, (a, b, c, d, e, f, g, h, i, j, k)

#define MOTE__MAP(n, m, s, list) MOTE__APPLY_MAP(MOTE__CAT(MOTE__MAP_, n), m, s, MOTE__UNWRAP list)
#define MOTE__MAP_0(m, s, a)
#define MOTE__MAP_1(m, s, a)                      m(0, a)
#define MOTE__MAP_2(m, s, a, b)                   MOTE__MAP_1(m, s, a) s() m(1, b)
#define MOTE__MAP_3(m, s, a, b, c)                MOTE__MAP_2(m, s, a, b) s() m(2, c)
#define MOTE__MAP_4(m, s, a, b, c, d)             MOTE__MAP_3(m, s, a, b, c) s() m(3, d)
#define MOTE__MAP_5(m, s, a, b, c, d, e)          MOTE__MAP_4(m, s, a, b, c, d) s() m(4, e)
#define MOTE__MAP_6(m, s, a, b, c, d, e, f)       MOTE__MAP_5(m, s, a, b, c, d, e) s() m(5, f)
#define MOTE__MAP_7(m, s, a, b, c, d, e, f, g)    MOTE__MAP_6(m, s, a, b, c, d, e, f) s() m(6, g)
#define MOTE__MAP_8(m, s, a, b, c, d, e, f, g, h) MOTE__MAP_7(m, s, a, b, c, d, e, f, g) s() m(7, h)
#define MOTE__MAP_9(m, s, a, b, c, d, e, f, g, h, i) \
	MOTE__MAP_8(m, s, a, b, c, d, e, f, g, h) s() m(8, i)
#define MOTE__MAP_10(m, s, a, b, c, d, e, f, g, h, i, j) \
	MOTE__MAP_9(m, s, a, b, c, d, e, f, g, h, i) s() m(9, j)
#define MOTE__MAP_11(m, s, a, b, c, d, e, f, g, h, i, j, k) \
	MOTE__MAP_10(m, s, a, b, c, d, e, f, g, h, i, j) s() m(10, k)

/* 1 for void, 0 for another type. */
#define MOTE__IS_VOID(type)      MOTE__SECOND(MOTE__PROBE_##type, 0, ~)
#define MOTE__SECOND(...)        MOTE__SECOND_(__VA_ARGS__)
#define MOTE__SECOND_(a, b, ...) b
#define MOTE__PROBE_void         ~, 1

/* TAG: enum mote_type of a type. FETCH: the C value in a struct mote_value. STORE: the reverse. */
#ifdef __cplusplus

template <typename T> struct mote__guest_type;
#define MOTE__TYPE(T, number, member)                        \
	template <> struct mote__guest_type<T> {             \
		static const uint8_t tag = number;           \
		static T fetch(const mote_value *value)      \
		{                                            \
			return (T)value->member;             \
		}                                            \
		static void store(mote_value *value, T from) \
		{                                            \
			value->member = from;                \
		}                                            \
	};
MOTE__TYPE(int, MOTE_I32, i32)
MOTE__TYPE(unsigned, MOTE_U32, u32)
MOTE__TYPE(long, MOTE_I64, i64)
MOTE__TYPE(unsigned long, MOTE_U64, u64)
MOTE__TYPE(long long, MOTE_I64, i64)
MOTE__TYPE(unsigned long long, MOTE_U64, u64)
MOTE__TYPE(float, MOTE_F32, f32)
MOTE__TYPE(double, MOTE_F64, f64)
MOTE__TYPE(bool, MOTE_BOOL, boolean)
MOTE__TYPE(const char *, MOTE_STRING, string.data)
MOTE__TYPE(mote_string, MOTE_STRING, string)
MOTE__TYPE(mote_bytes, MOTE_BYTES, bytes)
template <> struct mote__guest_type<void> {
	static const uint8_t tag = MOTE_VOID;
};
#undef MOTE__TYPE

#define MOTE__TAG(T)                mote__guest_type<T>::tag
#define MOTE__FETCH(T, value)       mote__guest_type<T>::fetch(value)
#define MOTE__STORE(T, value, from) mote__guest_type<T>::store((value), (from))

#else

/* clang-format off */
#define MOTE__SELECT(T, of_i32, of_u32, of_i64, of_u64, of_f32, of_f64, of_bool, of_text,        \
		     of_string, of_bytes, of_void)                                               \
	_Generic((T *)0, int *: of_i32, unsigned *: of_u32, long *: of_i64,                      \
		 unsigned long *: of_u64, long long *: of_i64, unsigned long long *: of_u64,     \
		 float *: of_f32, double *: of_f64, bool *: of_bool, const char **: of_text,     \
		 struct mote_string *: of_string, struct mote_bytes *: of_bytes, void *: of_void)
/* clang-format on */
#define MOTE__TAG(T)                                                                           \
	MOTE__SELECT(T, MOTE_I32, MOTE_U32, MOTE_I64, MOTE_U64, MOTE_F32, MOTE_F64, MOTE_BOOL, \
		     MOTE_STRING, MOTE_STRING, MOTE_BYTES, MOTE_VOID)
#define MOTE__FETCH(T, value)                                                                 \
	MOTE__SELECT(T, (value)->i32, (value)->u32, (value)->i64, (value)->u64, (value)->f32, \
		     (value)->f64, (value)->boolean, (value)->string.data, (value)->string,   \
		     (value)->bytes, (value)->reserved)
#define MOTE__STORE(T, value, from)                                                            \
	(*MOTE__SELECT(T, &(value)->i32, &(value)->u32, &(value)->i64, &(value)->u64,          \
		       &(value)->f32, &(value)->f64, &(value)->boolean, &(value)->string.data, \
		       &(value)->string, &(value)->bytes, &(value)->reserved) = (from))

#endif

/* One parameter p = (type, name), number i. */
#define MOTE__DECLARE(i, p)            MOTE__APPLY_ONE(MOTE__DECLARE_, MOTE__UNWRAP p)
#define MOTE__DECLARE_(type, name)     type name
#define MOTE__AND_DECLARE(i, p)        , MOTE__DECLARE(i, p)
#define MOTE__TAG_OF(i, p)             MOTE__APPLY_ONE(MOTE__TAG_OF_, MOTE__UNWRAP p)
#define MOTE__TAG_OF_(type, name)      MOTE__TAG(type),
#define MOTE__ARGUMENT(i, p)           MOTE__APPLY_ONE(MOTE__ARGUMENT_, i, MOTE__UNWRAP p)
#define MOTE__ARGUMENT_(i, type, name) MOTE__FETCH(type, &mote__in[i])
#define MOTE__PACK(i, p)               MOTE__APPLY_ONE(MOTE__PACK_, i, MOTE__UNWRAP p)
#define MOTE__PACK_(i, of_type, name)           \
	mote__in[i].type = MOTE__TAG(of_type);  \
	mote__in[i].reserved = 0;               \
	mote__in[i].string.len = MOTE__MEASURE; \
	MOTE__STORE(of_type, &mote__in[i], name);

#define MOTE__PARAMETERS(n, list)   MOTE__CAT(MOTE__PARAMETERS_, MOTE__IS_0(n))(n, list)
#define MOTE__PARAMETERS_0(n, list) MOTE__MAP(n, MOTE__DECLARE, MOTE__COMMA, list)
#define MOTE__PARAMETERS_1(n, list) void
#define MOTE__IS_0(n)               MOTE__SECOND(MOTE__PROBE_0_##n, 0, ~)
#define MOTE__PROBE_0_0             ~, 1

#define MOTE__SIGNATURE(result, name, target, n, list)                                   \
	{                                                                                \
#name, target, sizeof #name - 1, MOTE__TAG(result), n,                   \
			{0, 0 }, {MOTE__MAP(n, MOTE__TAG_OF, MOTE__NOTHING, list) 0 }, 0 \
	}

/* clang-format off */

/**
 * Define a function that the host can call by its name:
 *
 *	MOTE_EXPORT(result, name, (type, name)...) { body }
 *
 * The C function is static. A call with other types, or another number of values, gets an error and
 * does not run it. Two exports of one name do not link.
 */
#define MOTE_EXPORT(result, ...) MOTE__APPLY(MOTE__EXPORT, result, MOTE__SPLIT(__VA_ARGS__))
#define MOTE__EXPORT(result, name, n, list)                                                      \
	static __attribute__((noinline)) result name(MOTE__PARAMETERS(n, list));                 \
	static void mote__thunk_##name(const struct mote_value *mote__in,                        \
				       struct mote_value *mote__out)                             \
	{                                                                                        \
		(void)mote__in;                                                                  \
		(void)mote__out;                                                                 \
		MOTE__CAT(MOTE__EXPORT_, MOTE__IS_VOID(result))(                                 \
			result, name(MOTE__MAP(n, MOTE__ARGUMENT, MOTE__COMMA, list)));          \
	}                                                                                        \
	extern const struct mote__guest_function mote__export_##name;                            \
	const struct mote__guest_function mote__export_##name                                    \
		__attribute__((section("mote_exports." #name), used, aligned(8))) =                     \
			MOTE__SIGNATURE(result, name, mote__thunk_##name, n, list);              \
	static result name(MOTE__PARAMETERS(n, list))
#define MOTE__EXPORT_0(result, call) MOTE__STORE(result, mote__out, call)
#define MOTE__EXPORT_1(result, call) call

/**
 * Declare a function of the host:
 *
 *	MOTE_IMPORT(result, name, (type, name)...);
 *
 * name(...) calls it; when it fails, so does the guest's current call, with the same error (code 17
 * and the host's text). name_try(&result, ...) returns 0 or the code, and leaves the text to
 * mote_guest_error_text(); without the first argument if the result is void.
 */
#define MOTE_IMPORT(result, ...) MOTE__APPLY(MOTE__IMPORT, result, MOTE__SPLIT(__VA_ARGS__))
#define MOTE__IMPORT(result, name, n, list)                                                      \
	static const struct mote__guest_function mote__import_##name                             \
		__attribute__((section("mote_imports." #name), unused, aligned(8))) =                   \
			MOTE__SIGNATURE(result, name, NULL, n, list);                            \
	static inline __attribute__((unused)) result name(MOTE__PARAMETERS(n, list))             \
	{                                                                                        \
		struct mote_value mote__in[n + 1], mote__out;                                    \
		MOTE__MAP(n, MOTE__PACK, MOTE__NOTHING, list)                                    \
		mote__guest_call_or_end(&mote__import_##name, mote__in, &mote__out);             \
		MOTE__CAT(MOTE__IMPORT_RETURN_, MOTE__IS_VOID(result))(result)                   \
	}                                                                                        \
	static inline __attribute__((unused)) int name##_try(                                    \
		MOTE__CAT(MOTE__IMPORT_TRY_, MOTE__IS_VOID(result))(result, n, list))            \
	{                                                                                        \
		struct mote_value mote__in[n + 1], mote__out;                                    \
		MOTE__MAP(n, MOTE__PACK, MOTE__NOTHING, list)                                    \
		int mote__code = mote__guest_call(&mote__import_##name, mote__in, &mote__out);   \
		MOTE__CAT(MOTE__IMPORT_STORE_, MOTE__IS_VOID(result))(result)                    \
		return mote__code;                                                               \
	}                                                                                        \
	extern const struct mote__guest_function mote__import_##name##_end_of_declaration
#define MOTE__IMPORT_RETURN_0(result) return MOTE__FETCH(result, &mote__out);
#define MOTE__IMPORT_RETURN_1(result) (void)mote__out;
#define MOTE__IMPORT_TRY_0(result, n, list)                                                      \
	result *mote__result MOTE__MAP(n, MOTE__AND_DECLARE, MOTE__NOTHING, list)
#define MOTE__IMPORT_TRY_1(result, n, list) MOTE__PARAMETERS(n, list)
#define MOTE__IMPORT_STORE_0(result)                                                             \
	if (mote__code == 0)                                                                     \
		*mote__result = MOTE__FETCH(result, &mote__out);
#define MOTE__IMPORT_STORE_1(result)

/* clang-format on */

#endif /* MOTE_GUEST_H */
