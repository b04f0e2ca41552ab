/* SPDX-License-Identifier: MIT */
/* What an application writes with mote.h: plain C11, and C++11 too. Compiled, not run. */
#include <mote.h>

int use(const char *path, int32_t *result);

static int twice(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, arguments[0].i32 * 2);
}

static int add_functions(mote_host *host, struct mote_error *err)
{
	static const uint32_t parameter = MOTE_I32;
	struct mote_host_function function = {0, 0, 0, 0, 0, 0, 0, 0};
	function.size = sizeof function;
	function.name = "twice";
	function.callback = twice;
	function.result = MOTE_I32;
	function.parameter_count = 1;
	function.parameters = &parameter;
	return mote_host_add(host, &function, err);
}

static int call(mote_sandbox *sandbox, struct mote_value *value, struct mote_error *err)
{
	static const uint8_t bytes[2] = {1, 2};
	struct mote_value arguments[7];
	struct mote_call c = {0, 0, 0, 0, 0, 0};
	arguments[0] = mote_i32(-1);
	arguments[1] = mote_u64(1);
	arguments[2] = mote_f32(1.5f);
	arguments[3] = mote_f64(1.5);
	arguments[4] = mote_bool(1);
	arguments[5] = mote_string("text");
	arguments[6] = mote_bytes(bytes, sizeof bytes);
	c.size = sizeof c;
	c.function = "function";
	c.arguments = arguments;
	c.argument_count = sizeof arguments / sizeof arguments[0];
	c.result = MOTE_I32;
	return mote_sandbox_call(sandbox, &c, value, err);
}

int use(const char *path, int32_t *result)
{
	struct mote_error err;
	struct mote_value value = mote_void();
	mote_engine *engine = NULL;
	mote_snapshot *snapshot = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;
	int rc = mote_engine_create(NULL, &engine, &err);
	if (rc == MOTE_OK)
		rc = mote_snapshot_from_file(path, NULL, &snapshot, &err);
	if (rc == MOTE_OK)
		rc = mote_host_create(&host, &err);
	if (rc == MOTE_OK)
		rc = add_functions(host, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(engine, snapshot, host, NULL, &sandbox, &err);
	if (rc == MOTE_OK)
		rc = call(sandbox, &value, &err);
#ifndef __cplusplus
	if (rc == MOTE_OK)
		rc = MOTE_HOST_ADD(host, "again", twice, NULL, &err, MOTE_I32, MOTE_I32);
	if (rc == MOTE_OK)
		rc = MOTE_CALL(sandbox, "add", &value, &err, MOTE_I32, mote_i32(2), mote_i32(3));
#endif
	if (rc == MOTE_OK)
		*result = value.i32;
	mote_sandbox_destroy(sandbox);
	mote_host_unref(host);
	mote_snapshot_unref(snapshot);
	mote_engine_unref(engine);
	return rc;
}
