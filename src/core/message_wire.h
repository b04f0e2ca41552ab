/* SPDX-License-Identifier: MIT */
/*
 * Numbers of the schemas that differ from enum mote_type. A ParameterValue has the tags of
 * mote_type; a ReturnValue puts void where bytes are there and bytes behind it; ParameterType and
 * ReturnType, which name types, count from 0.
 */
#ifndef MOTE_CORE_MESSAGE_WIRE_H
#define MOTE_CORE_MESSAGE_WIRE_H

/* FunctionCallResult.result_type */
#define MOTE__WIRE_RESULT_VALUE 1u
#define MOTE__WIRE_RESULT_ERROR 2u

/* ReturnValueBox.value_type, where it is not enum mote_type */
#define MOTE__WIRE_TAG_VOID  9u
#define MOTE__WIRE_TAG_BYTES 10u

/* FunctionCall.expected_return_type, where it is not enum mote_type - 1 */
#define MOTE__WIRE_TYPE_VOID  8u
#define MOTE__WIRE_TYPE_BYTES 9u

/* GuestLogData.level: 0 trace to 4 error, and two that have no enum mote_log_level */
#define MOTE__WIRE_LEVEL_ERROR    4u
#define MOTE__WIRE_LEVEL_CRITICAL 5u
#define MOTE__WIRE_LEVEL_NONE     6u

#endif
