#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build the guest runtime: build.sh OUTPUT_DIRECTORY, which gets libmote_guest.a. The flags are the
# guest's own, whatever the library around it is built with. CC and AR from the environment.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
out=${1:?usage: build.sh OUTPUT_DIRECTORY}
: "${CC:=gcc}" "${AR:=ar}"
musl=${MOTE_MUSL_INCLUDE:-/usr/include/x86_64-linux-musl}
mkdir -p "$out/guest-objects"

common="-O2 -fPIE -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables
	-ffunction-sections -fdata-sections -fcf-protection=none
	-fvisibility=hidden -fno-strict-aliasing -fno-builtin-fflush
	-nostdinc -isystem $musl -I$root/include -I$root/src -I$here
	-Wall -Wextra -Wshadow -Wconversion -Wvla -Werror"
general="-mgeneral-regs-only"

compile() { # name, source, flags
	# shellcheck disable=SC2086
	$CC $3 $common -c "$2" -o "$out/guest-objects/$1.o"
	objects="$objects $out/guest-objects/$1.o"
}

objects=
c="-std=gnu17 -Wstrict-prototypes -Wmissing-prototypes"
for name in start init dispatch call output print format text memory scratch clock random syscall \
	stdio assert stack_check tables offsets fallback; do
	compile $name "$here/$name.c" "$c $general"
done
for name in message_encode message_view utf8; do
	compile $name "$root/src/core/$name.c" "$c $general"
done
compile report "$here/report.c" "$c -fno-tree-vectorize"
for name in entry fallback_entry; do
	compile $name "$here/$name.S" ""
done
for name in cxx cxx_throw; do
	compile $name "$here/$name.cc" "-x c++ -std=c++11 -fno-exceptions -fno-rtti -faligned-new"
done

rm -f "$out/libmote_guest.a"
# shellcheck disable=SC2086
"$AR" rcsD "$out/libmote_guest.a" $objects
