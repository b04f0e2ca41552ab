/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest: sends what the host tells it to send, past the runtime. Offsets count from the
 * start of the output buffer, values are whatever they are.
 */
#include <mote_guest.h>

static uint8_t *output_at, *input_at;
static uint64_t output_bytes;

/* Where the buffers are: a result in the output buffer is encoded behind its head, and parameters
 * lie in the input buffer; the runtime knows both exactly. */
extern struct {
	const struct mote_abi_run_info *run;
} mote__guest;

void mote_guest_init(void)
{
	output_at = (uint8_t *)mote__guest.run->output;
	output_bytes = mote__guest.run->output_bytes;
	input_at = (uint8_t *)mote__guest.run->input;
}

static void out32(uint32_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port) : "memory");
}

static void out8(uint32_t port, uint32_t value)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port) : "memory");
}

static void put(uint64_t at, const void *from, uint64_t len)
{
	const uint8_t *bytes = from;
	for (uint64_t i = 0; i < len && at + i < output_bytes; i++)
		output_at[at + i] = bytes[i];
}

/* One OUT of four bytes, or of one; the call goes on if the host lets it. */
MOTE_EXPORT(void, port32, (uint32_t, port), (uint32_t, value))
{
	out32(port, value);
}

MOTE_EXPORT(void, port8, (uint32_t, port), (uint32_t, value))
{
	out8(port, value);
}

MOTE_EXPORT(uint32_t, port_in, (uint32_t, port))
{
	uint32_t value;
	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port));
	return value;
}

/* The bytes as the whole start of the output buffer (stack pointer and all), then an OUT. */
MOTE_EXPORT(void, raw, (uint32_t, port), (struct mote_bytes, bytes))
{
	put(0, bytes.data, bytes.len);
	out32(port, 0);
}

/* The bytes as a message, properly pushed, then an OUT: 101 call, 99 log, 108 result. */
MOTE_EXPORT(void, message, (uint32_t, port), (struct mote_bytes, bytes))
{
	uint64_t first = 8, end = 8 + bytes.len + 8;
	put(8, bytes.data, bytes.len);
	put(8 + bytes.len, &first, sizeof first);
	put(0, &end, sizeof end);
	out32(port, 0);
}

/* The same with a stack pointer and a back-pointer of the host's choice. */
MOTE_EXPORT(void, message_at, (uint32_t, port), (struct mote_bytes, bytes), (uint64_t, pointer),
	    (uint64_t, back))
{
	put(8, bytes.data, bytes.len);
	if (pointer >= 8)
		put(pointer - 8, &back, sizeof back);
	put(0, &pointer, sizeof pointer);
	out32(port, 0);
}

/* Chunks of an abort, one OUT for each four bytes. */
MOTE_EXPORT(void, abort_words, (struct mote_bytes, words))
{
	const uint8_t *at = words.data;
	for (uint64_t i = 0; i + 4 <= words.len; i += 4)
		out32(MOTE_ABI_PORT_ABORT, (uint32_t)at[i] | (uint32_t)at[i + 1] << 8 |
						   (uint32_t)at[i + 2] << 16 |
						   (uint32_t)at[i + 3] << 24);
}

/* The same OUT, count times. */
MOTE_EXPORT(void, flood, (uint32_t, port), (uint32_t, value), (uint32_t, count))
{
	for (uint32_t i = 0; i < count; i++)
		out32(port, value);
}

MOTE_EXPORT(void, halt_without_result)
{
	uint64_t empty = 8;
	put(0, &empty, sizeof empty);
	out32(MOTE_ABI_PORT_HALT, 0);
}

/* Instructions of the host's choice, on the stack: must fault. */
MOTE_EXPORT(void, run_bytes, (struct mote_bytes, code))
{
	__asm__ volatile("call *%0" : : "r"(code.data) : "memory", "rax", "rcx", "rdx");
}

MOTE_EXPORT(uint64_t, peek, (uint64_t, address))
{
	return *(volatile uint64_t *)address;
}

MOTE_EXPORT(void, poke, (uint64_t, address), (uint64_t, value))
{
	*(volatile uint64_t *)address = value;
}

MOTE_EXPORT(uint64_t, output_address)
{
	return (uint64_t)output_at;
}

MOTE_EXPORT(uint64_t, input_address)
{
	return (uint64_t)input_at;
}

MOTE_EXPORT(uint64_t, run_info_address)
{
	return (uint64_t)mote__guest.run;
}

/* What the previous call left in registers that are not arguments: x87, MXCSR and XMM, as FXSAVE
 * shows them; and a way to fill them. */
MOTE_EXPORT(struct mote_bytes, vector_state)
{
	static uint8_t area[512] __attribute__((aligned(16)));
	__asm__ volatile("fxsave64 %0" : "=m"(area));
	return (struct mote_bytes){area, sizeof area};
}

MOTE_EXPORT(void, dirty_vector_state)
{
	uint32_t control = 0xFFC0;
	__asm__ volatile("fldpi\n\tfldl2e\n\tldmxcsr %0\n\t"
			 "pcmpeqd %%xmm0, %%xmm0\n\tmovdqa %%xmm0, %%xmm7\n\tmovdqa %%xmm0, %%xmm15"
			 :
			 : "m"(control)
			 : "xmm0", "xmm7", "xmm15");
}
