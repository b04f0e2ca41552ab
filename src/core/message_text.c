/* SPDX-License-Identifier: MIT */
#include "core/message.h"

const char *mote__message_describe(int code)
{
	switch (code) {
	case MOTE__MESSAGE_OK:
		return "no error";
	case MOTE__MESSAGE_TOO_BIG:
		return "the message does not fit the buffer";
	case MOTE__MESSAGE_VALUE:
		return "a value of a type that cannot be sent here";
	case MOTE__MESSAGE_PARAMETERS:
		return "more than 32 parameters";
	case MOTE__MESSAGE_BOUNDS:
		return "a part lies outside the message";
	case MOTE__MESSAGE_ALIGNMENT:
		return "a part is not aligned";
	case MOTE__MESSAGE_OFFSET:
		return "an offset is zero";
	case MOTE__MESSAGE_VTABLE:
		return "the length of a vtable is odd or below 4";
	case MOTE__MESSAGE_MISSING:
		return "a required field is missing";
	case MOTE__MESSAGE_NO_NUL:
		return "a string does not end with a NUL";
	case MOTE__MESSAGE_UTF8:
		return "a string is not UTF-8";
	case MOTE__MESSAGE_APPARENT:
		return "its shared parts add up to more than 2 GiB";
	case MOTE__MESSAGE_KIND:
		return "a call of neither a guest nor a host function";
	case MOTE__MESSAGE_TYPE:
		return "an unknown expected result type";
	case MOTE__MESSAGE_TAG:
		return "an unknown kind of value or result";
	case MOTE__MESSAGE_LEVEL:
		return "an unknown log level";
	default:
		return "an unknown error";
	}
}
