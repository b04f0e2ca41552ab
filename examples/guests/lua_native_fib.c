/* SPDX-License-Identifier: MIT */
/*
 * What lua_guest.c's fib() costs without a virtual machine: a program for Linux, linked of the very
 * objects of the interpreter that are in the guest. Prints the microseconds of each run.
 *
 * usage: native-fib [N [RUNS]]     (default: 27 5)
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char fib_source[] = "local function fib(n)\n"
				 "	if n < 2 then return n end\n"
				 "	return fib(n - 1) + fib(n - 2)\n"
				 "end\n"
				 "return fib";

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 27;
	int runs = argc > 2 ? atoi(argv[2]) : 5;
	lua_State *lua = luaL_newstate();
	if (!lua)
		return 1;
	luaL_openlibs(lua);
	if (luaL_dostring(lua, fib_source) != LUA_OK)
		return 1;
	for (int i = 0; i < runs; i++) {
		double start = now_us();
		lua_pushvalue(lua, -1);
		lua_pushinteger(lua, n);
		lua_call(lua, 1, 1);
		double end = now_us();
		lua_pop(lua, 1);
		printf("%.1f\n", end - start);
		fflush(stdout);
	}
	lua_close(lua);
	return 0;
}
