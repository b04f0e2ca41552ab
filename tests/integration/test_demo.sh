#!/bin/bash
# SPDX-License-Identifier: MIT
# The examples and the Lua demo on a real KVM, as TAP. usage: test_demo.sh BUILD
# Lua's source is fetched once, into build/lua of the source tree; where it cannot be had, the tests that
# need it are skipped.
set -uo pipefail

build=$(cd "${1:?usage: test_demo.sh BUILD}" && pwd) || exit 1
root=$(cd "$(dirname "$0")/../.." && pwd)
examples=$build/examples
scripts=$root/examples/scripts
lua=$root/build/lua
export MOTE_SDK=$build/guest NO_COLOR=1

if [ ! -w /dev/kvm ]; then
	echo '1..0 # SKIP no usable /dev/kvm'
	exit 0
fi
if [ ! -e "$examples/hello.guest" ]; then
	echo '1..0 # SKIP no guests are built (musl-dev)'
	exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0

# result NAME STATUS: one line of TAP, and what was seen if it failed.
result() {
	count=$((count + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		sed 's/^/# /' "$work/out"
	fi
}

# run COMMAND...: keeps output and exit status.
run() {
	timeout -k 2 60 "$@" >"$work/out" 2>&1
	status=$?
}

says() { grep -qF -- "$1" "$work/out"; }

# check NAME STATUS TEXT...: the last run ended so and said each of these.
check() {
	local name=$1 wanted=$2 good=0 text
	shift 2
	[ "$status" -eq "$wanted" ] || good=1
	for text; do
		if [[ $text == !* ]]; then
			! says "${text#!}" || good=1
		else
			says "$text" || good=1
		fi
	done
	[ "$good" -eq 0 ] || echo "exit status $status" >>"$work/out"
	result "$name" "$good"
}

# ---- Small examples -----------------------------------------------------------------------------------

cat >"$work/expected" <<'END'
hello: 2 + 3 = 5
hello: Hello, you, from inside a virtual machine!
host_function: four apples: 1.00
host_function: a moon: Guest error occurred HostFunctionError: there is no item moon
host_function: are moons sold? no
bytes: 100000 bytes, packed 786, unpacked the same
bytes: damaged bytes: Guest error occurred GuestError: 3 bytes are not pairs
init_data: 3 words
init_data: mote: a very small piece of something
init_data: container: Guest error occurred GuestError: no word "container"
threads: thread 0: sum 499500, 2 reports
threads: thread 1: sum 4995000, 20 reports
END
for name in hello host_function bytes init_data threads; do
	run "$examples/$name" "$examples/$name.guest"
	sed -i 's/ *$//' "$work/out"
	sed -n "s/^$name: //p" "$work/expected" | cmp -s - "$work/out"
	result "example_${name}__prints_what_it_should" $((status + $?))
	run "$examples/$name" "$work/nothing.guest"
	check "example_${name}__fails_cleanly_without_its_guest" 1 "$name: " 'No such file or directory'
done

# ---- Lua ----------------------------------------------------------------------------------------------

if ! "$root/scripts/fetch-lua" "$lua" >"$work/out" 2>&1; then
	echo "ok $((count + 1)) - lua # SKIP the source of Lua cannot be fetched"
	echo "1..$((count + 1))"
	exit 0
fi
timeout 300 "$root/scripts/build-lua" "$lua" >"$work/out" 2>&1
status=$?
check lua__is_built_of_debians_source 0

# lua OPTIONS... SCRIPT: evaluates it from standard input.
lua() {
	local script=${*: -1}
	run "$examples/lua_host" "${@:1:$#-1}" "$lua/lua.guest" - <<<"$script"
}
# lua_files SCRIPT...
lua_files() {
	cd "$scripts" && run "$examples/lua_host" "$lua/lua.guest" "$@"
}

lua 'return 6 * 7'
check lua__evaluates_standard_input 0 '=> 42'
lua 'print("one\ttwo") return _VERSION'
check lua__prints 0 $'one\ttwo' '=> Lua 5.4'
lua 'log("heard") error("said")'
check lua__logs_and_reports_errors 0 '[log] heard' 'error: Guest error occurred GuestError: -:1: said'
lua 'return ('
check lua__reports_syntax_errors 0 'unexpected symbol near <eof>'
lua 'return string.format("%.3f %d %s", math.pi, 1 << 40, #table.pack(("a,b,c"):byte(1, -1)))'
check lua__computes_with_floats_and_integers 0 '=> 3.142 1099511627776 5'

lua 'return tostring(kv_get("k"))'
check kv__of_an_unknown_key_is_nil 0 '=> nil'
lua 'kv_put("k", "v") local v = kv_get("k") kv_put("k") return v .. tostring(kv_get("k"))'
check kv__is_kept_and_taken_away 0 '=> vnil'
lua 'return pcall(kv_put, ("k"):rep(63), ("v"):rep(4095))'
check kv__takes_the_longest 0 '=> true'
lua 'return select(2, pcall(kv_put, ("k"):rep(64), "v"))'
check kv__refuses_a_longer_key 0 'too long (64, 1 bytes)'
lua 'return select(2, pcall(kv_put, "k", ("v"):rep(4096)))'
check kv__refuses_a_longer_value 0 'too long (1, 4096 bytes)'
lua 'for i = 1, 64 do kv_put("k" .. i, "v") end return select(2, pcall(kv_put, "one more", "v"))'
check kv__refuses_a_65th_key 0 'the store is full (64 keys)'
lua 'return select(2, pcall(kv_get, "\xFF"))'
check kv__refuses_what_is_not_utf8 0 'is not UTF-8'

lua 'print("\27[2J \xC2\x9B2J \xC3\xA9") error("\27[2J")'
check terminal__is_not_steered 0 '?[2J ?2J é' '!'$'\e' '!'$'\xC2\x9B'
head -c 65000 /dev/zero | tr '\0' '\n' >"$work/long.lua"
run "$examples/lua_host" "$lua/lua.guest" "$work/long.lua"
check script__of_64_kib_less_some_runs 0 '=> '
head -c 66000 /dev/zero | tr '\0' '\n' >"$work/long.lua"
run "$examples/lua_host" "$lua/lua.guest" "$work/long.lua" "$scripts/hello.lua"
check script__that_is_longer_is_refused 0 'Not enough space' 'requests refused'
run "$examples/lua_host" "$lua/lua.guest" "$work/nothing.lua" "$scripts/hello.lua"
check script__that_is_not_there_is_skipped 0 'nothing.lua: cannot be read' 'requests refused'
run "$examples/lua_host" "$lua/lua.guest"
check host__without_scripts_tells_its_usage 2 'usage: lua_host'

lua_files hello.lua
check hello__aggregates 0 '/login       2 hits from 1 clients' '=> 13538 bytes in all, 2 requests refused'
lua_files escape.lua
check escape__gets_nothing 0 '=> did not get out' '!GOT' '/etc/passwd: Function not implemented'
lua -t 200 "$(<"$scripts/forever.lua")"
check forever__is_ended_by_its_deadline 0 'looping' 'error: Execution was cancelled by the host.'
lua_files memory.lua
check memory__is_bounded 0 'error: Guest aborted: 13 Out of physical memory'
lua_files crash.lua
check crash__is_a_fault_with_a_symbol 0 'PageFault' '<luaV_execute+' '!SIGSEGV'
lua 'os.exit(3)'
check exit__ends_the_guest_alone 0 'error: Guest aborted: 3 The program called exit(3)'
lua 'local function f(n) return (("x"):gsub(".", function() return f(n + 1) end)) end
	return select(2, pcall(f, 1))'
check recursion__in_c_is_caught_by_lua 0 '=> ' 'stack overflow' '!PageFault'
lua_files crash.lua memory.lua hello.lua - <<<'return kv_get("refused") .. " refused"'
check application__goes_on 0 'PageFault' 'Out of physical memory' '=> 2 refused'
lua 'return math.random(0)'
first=$(tail -n 1 "$work/out")
lua 'return math.random(0)'
! says "$first"
result random__differs_between_sandboxes $?
"$lua/native-fib" 10 2 >"$work/out" 2>&1
status=$?
grep -qxE '[0-9]+\.[0-9]' "$work/out"
result native_fib__prints_microseconds $((status + $?))
if [ -x "$build/cli/mote" ]; then
	run "$build/cli/mote" call "$lua/lua.guest" fib 20 --heap 16M
	check fib__is_right 0 6765
fi

run "$root/scripts/demo" "$build"
check demo__tells_the_whole_story 0 'Preparing:' 'requests refused' 'did not get out' 'cancelled' \
	'Out of physical memory' 'PageFault' '=> 2 requests were refused' 'Try a script of your own'

echo "1..$count"
