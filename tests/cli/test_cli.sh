#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Golden-file tests of the mote command; prints TAP.
#
#	test_cli.sh MOTE [GUEST]
#
# MOTE is the command; GUEST the SDK's test guest "hello" (without it, its cases are skipped).
# Each golden/NAME.txt is a transcript: lines "$ command", what the command printed on standard
# output and standard error, and "=> exit status". Lines "# needs: guest kvm c.utf8" at the start say
# what a case cannot do without. With UPDATE=1 the transcripts are written anew: read the diff.
#
# Commands run in an empty directory that holds hello.guest (GUEST), tiny.guest and loop.guest (stock
# guests made below, of which a call aborts or does not end), narrow.guest (tiny.guest for 32 bits),
# text.guest (no ELF image) and data.bin (bytes 00 ff 41). "masked" hides digests, sizes and times.
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
mote=$(realpath "${1:?usage: test_cli.sh MOTE [GUEST]}")
guest=${2:-}
[[ -n $guest ]] && guest=$(realpath "$guest")
root=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0

mote() {
	timeout 60 "$mote" "$@"
}

ok() {
	number=$((number + 1))
	echo "ok $number - $1${2:+ # SKIP $2}"
}

not_ok() {
	number=$((number + 1))
	failed=$((failed + 1))
	echo "not ok $number - $1"
}

# Writes numbers in hex as bytes.
bytes() {
	local byte
	for byte in "$@"; do
		printf '%b' "\\x$byte"
	done
}

# A stock guest without a version note: initialises itself and halts; every call runs the code "$@".
make_stock_guest() {
	local size
	printf -v size %02x $((135 + $#))
	bytes 7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 # ELF, 64 bits
	bytes 03 00 3e 00 01 00 00 00                         # shared object, x86-64
	bytes 78 00 00 00 00 00 00 00 40 00 00 00 00 00 00 00 # entry, program headers
	bytes 00 00 00 00 00 00 00 00                         # no section headers
	bytes 00 00 00 00 40 00 38 00 01 00 00 00 00 00 00 00
	bytes 01 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 # load all of it, read and execute
	bytes 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
	bytes "$size" 00 00 00 00 00 00 00 "$size" 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00
	bytes 48 83 ec 08                                     # sub $8, %rsp: aligned to 16
	bytes 48 8d 05 04 00 00 00                            # lea dispatch(%rip), %rax
	bytes e7 6c eb fe                                     # out %eax, $108; jmp .
	bytes "$@"
}

# The same for 32 bits.
make_narrow_guest() {
	local size
	printf -v size %02x $((100 + $#))
	bytes 7f 45 4c 46 01 01 01 00 00 00 00 00 00 00 00 00 # ELF, 32 bits
	bytes 03 00 03 00 01 00 00 00 54 00 00 00 34 00 00 00 # shared object, i386
	bytes 00 00 00 00 00 00 00 00 34 00 20 00 01 00 00 00 00 00 00 00
	bytes 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 # load all of it
	bytes "$size" 00 00 00 "$size" 00 00 00 05 00 00 00 00 10 00 00
	bytes 83 e4 f0                                        # and $-16, %esp
	bytes e8 00 00 00 00 58 83 c0 08                      # call .; pop %eax; add $8, %eax: dispatch
	bytes e7 6c eb fe                                     # out %eax, $108; jmp .
	bytes "$@"
}

# Aborts with code 13 and the text "Hi".
abort_code=(b8 01 0d 00 00 e7 66 b8 02 48 69 00 e7 66 b8 01 ff 00 00 e7 66 eb fe)
make_tiny_guest() {
	make_stock_guest "${abort_code[@]}"
}

has_locale() {
	[[ $(LC_ALL=C.UTF-8 locale charmap 2>/dev/null) == UTF-8 ]]
}

masked() {
	sed -E 's/sha256:[0-9a-f]{64}/DIGEST/g; s/ *[0-9.]+ (B|[KM]iB)/ SIZE/g; s/[0-9.]+ [um]s/TIME/g; s/(_ns|bytes[_a-z]*)":[0-9]+/\1":NUMBER/g'
}

# What is missing of the things that case $1 needs; nothing when it can run.
missing_of() {
	local need
	for need in $(sed -n 's/^# needs: //p' "$1"); do
		case $need in
		guest) [[ -n $guest ]] || echo "no test guest" ;;
		kvm) [[ -n $has_kvm ]] || echo "no usable KVM" ;;
		c.utf8) has_locale || echo "no locale C.UTF-8" ;;
		esac
	done
}

# Runs the commands of case $1 and prints the transcript.
run_case() {
	local line
	sed -n '/^# /p' "$1"
	sed -n 's/^\$ //p' "$1" | while IFS= read -r line; do
		echo "\$ $line"
		eval "$line" </dev/null 2>&1
		echo "=> $?"
	done
}

test_case() {
	local file=$1 name missing
	name=$(basename "$file" .txt)
	missing=$(missing_of "$file" | head -1)
	if [[ -n $missing ]]; then
		ok "$name" "$missing"
		return
	fi
	(cd "$work" && run_case "$file") >"$work/.actual"
	if [[ -n ${UPDATE:-} ]]; then
		cp "$work/.actual" "$file"
	fi
	if diff -u "$file" "$work/.actual" >"$work/.diff"; then
		ok "$name"
	else
		sed 's/^/# /' "$work/.diff"
		not_ok "$name"
	fi
}

# Every option that --help tells stands in the file $2, as sed expression $1 spells it.
test_options_are_in() {
	local command option absent=
	for command in run call inspect "snapshot take" "snapshot inspect" "snapshot diff" \
		"snapshot flatten" "snapshot save" "snapshot load" "snapshot list" "snapshot verify" \
		"snapshot tag" "snapshot remove" "snapshot gc" "snapshot push" "snapshot pull" doctor bench; do
		# shellcheck disable=SC2086 # a command of a group is two words
		for option in $(mote $command --help | sed -n 's/^  \(-., \|    \)--\([a-z-]*\).*/\2/p'); do
			grep -q -- "${1//OPTION/$option}" "$2" || absent+=" $command --$option"
		done
	done
	[[ -n $absent ]] && echo "# not there:$absent"
	if [[ -z $absent ]]; then
		ok "every_option_is_in_$(basename "$2")"
	else
		not_ok "every_option_is_in_$(basename "$2")"
	fi
}

# What is completed for the words $@, of which the last one is being typed.
complete_words() {
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_mote 2>/dev/null
	echo "${COMPREPLY[*]-}"
}

test_completion() {
	local name=$1 wanted=$2 actual
	shift 2
	actual=$(cd "$work" && complete_words "$@")
	if [[ $actual == "$wanted" ]]; then
		ok "completion_of_$name"
	else
		echo "# \"$*\" completes to \"$actual\", not \"$wanted\""
		not_ok "completion_of_$name"
	fi
}

# JSON of every command is what a JSON reader takes.
test_json() {
	local name=$1
	shift
	if ! command -v python3 >/dev/null; then
		ok "json_of_$name" "no python3"
	elif (cd "$work" && mote "$@" 2>/dev/null) | python3 -c 'import json, sys; json.load(sys.stdin)["ok"]'; then
		ok "json_of_$name"
	else
		not_ok "json_of_$name"
	fi
}

# What the command $2... prints is a drawing.
test_svg() {
	local name=$1
	shift
	if ! command -v python3 >/dev/null; then
		ok "svg_of_${name}_is_xml" "no python3"
	elif (cd "$work" && mote "$@") |
		python3 -c 'import sys, xml.dom.minidom as m; assert m.parse(sys.stdin).documentElement.tagName == "svg"'; then
		ok "svg_of_${name}_is_xml"
	else
		not_ok "svg_of_${name}_is_xml"
	fi
}

test_full_device() {
	if [[ ! -w /dev/full ]]; then
		ok a_full_device_is_an_error "no /dev/full"
	elif mote --help >/dev/full 2>/dev/null || [[ $? -ne 7 ]]; then
		not_ok a_full_device_is_an_error
	else
		ok a_full_device_is_an_error
	fi
}

make_tiny_guest >"$work/tiny.guest"
make_stock_guest eb fe >"$work/loop.guest"
make_narrow_guest "${abort_code[@]}" >"$work/narrow.guest"
bytes 00 ff 41 >"$work/data.bin"
echo "no image" >"$work/text.guest"
[[ -n $guest ]] && cp "$guest" "$work/hello.guest"
has_kvm=
mote doctor >/dev/null 2>&1 && has_kvm=yes

echo "TAP version 13"
for file in "$here"/golden/*.txt; do
	test_case "$file"
done
test_options_are_in ' \\-OPTION' "$root/docs/man/mote.1"
test_options_are_in '--OPTION' "$root/cli/completion/mote.bash"
# shellcheck source=../../cli/completion/mote.bash
. "$root/cli/completion/mote.bash"
test_completion commands "call" mote ca
test_completion options "--svg --stack --scratch" mote inspect --s
test_completion levels "trace" mote run x --log-level tr
test_completion types "i32 i64" mote call x f -t i
test_completion groups "take tag" mote snapshot ta
test_completion groups_of_stores "push pull" mote snapshot pu
test_completion options_of_stores "--bytes-max" mote snapshot pull --b
test_completion options_of_saving "--metadata --memory-max" mote snapshot save --me
test_completion options_of_groups "--stack --scratch --svg" mote snapshot inspect --s
test_completion help_of_groups "flatten" mote help snapshot fl
test_completion guests_of_groups "tiny.guest" mote snapshot take ti
test_completion guests "tiny.guest" mote call ti
test_completion stored_snapshots "tiny.guest" mote run --from ti
if [[ -n $guest ]]; then
	test_completion functions "count_up" mote call hello.guest count
	test_completion functions_of_groups "count_up" mote snapshot diff hello.guest --call count
	test_completion functions_of_run "count_up" mote run hello.guest --call count
fi
test_json doctor doctor --json
test_json inspect inspect --json tiny.guest
test_json snapshot_save snapshot save --json --new tiny.guest json.store
for command in load list verify gc; do
	test_json "snapshot_$command" snapshot "$command" --json json.store
done
test_json snapshot_tag snapshot tag --json json.store:latest other
test_json snapshot_remove snapshot remove --json json.store:other
test_json errors_of_stores snapshot load --json missing.store
if [[ -n $has_kvm ]]; then
	for command in take inspect diff flatten; do
		test_json "snapshot_$command" snapshot "$command" --json tiny.guest
	done
	[[ -n $guest ]] && test_json snapshot_diff_of_a_call snapshot diff --json hello.guest --call count_up
fi
test_json errors call --json text.guest f
test_svg image inspect --svg - tiny.guest
[[ -n $has_kvm ]] && test_svg snapshot snapshot inspect --svg - tiny.guest
[[ -n $has_kvm && -n $guest ]] && test_svg snapshot_with_hostile_words snapshot inspect --svg - hello.guest \
	--call $'echo_bytes("text:<b>&\x1b\xff]]>")'
test_full_device
echo "1..$number"
exit $((failed > 0))
