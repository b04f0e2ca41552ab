# SPDX-License-Identifier: MIT
#
# Guests in a CMake project:
#
#   include(MoteGuest)        # found with list(APPEND CMAKE_MODULE_PATH <prefix>/lib/cmake/MoteGuest)
#   mote_add_guest(hello SOURCES hello.c helper.c [OPTIONS -O2 -Wall] [STACK_BYTES 65536])
#
# builds hello.guest in the binary directory, with the target hello. Needs mote-cc in PATH, or
# MOTE_CC_PROGRAM.
#
# The same in a meson project:
#
#   mote_cc = find_program('mote-cc')
#   custom_target('hello', input: ['hello.c', 'helper.c'], output: 'hello.guest',
#     command: [mote_cc, '-O2', '@INPUT@', '-o', '@OUTPUT@'], build_by_default: true)

find_program(MOTE_CC_PROGRAM mote-cc)

function(mote_add_guest name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "STACK_BYTES" "SOURCES;OPTIONS;DEPENDS")
	if(NOT MOTE_CC_PROGRAM)
		message(FATAL_ERROR "mote-cc was not found; set MOTE_CC_PROGRAM")
	endif()
	if(NOT arg_SOURCES)
		message(FATAL_ERROR "mote_add_guest(${name}): no SOURCES")
	endif()
	set(options -O2 ${arg_OPTIONS})
	if(arg_STACK_BYTES)
		list(APPEND options --stack-bytes=${arg_STACK_BYTES})
	endif()
	set(sources)
	foreach(source IN LISTS arg_SOURCES)
		get_filename_component(source "${source}" ABSOLUTE)
		list(APPEND sources "${source}")
	endforeach()
	set(output "${CMAKE_CURRENT_BINARY_DIR}/${name}.guest")
	add_custom_command(
		OUTPUT "${output}"
		COMMAND "${MOTE_CC_PROGRAM}" ${options} ${sources} -o "${output}"
		DEPENDS ${sources} ${arg_DEPENDS}
		COMMENT "Building guest ${name}.guest"
		VERBATIM)
	add_custom_target(${name} ALL DEPENDS "${output}")
endfunction()
