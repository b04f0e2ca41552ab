#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the message codec with flatc, in both directions, on random messages.

What the codec encodes, flatc must print with the same values; what flatc builds from that text, the
codec must decode to the same values. Prints TAP. Argument: the codec as a shared library; without
it, the sources are compiled with $CC. Exits with 77 where flatc or a compiler is missing.
"""

import ctypes
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SOURCES = ["message_encode.c", "message_view.c", "message_decode.c", "utf8.c"]
SCHEMA = os.path.join(TOP, "tests", "unit", "message.fbs")
COUNT = 150
SEED = 20240607

VOID, I32, U32, I64, U64, F32, F64, STRING, BOOL, BYTES = range(10)
INTEGERS = {I32: "i", U32: "I", I64: "q", U64: "Q"}
TABLES = ["hlvoid", "hlint", "hluint", "hllong", "hlulong", "hlfloat", "hldouble", "hlstring",
          "hlbool", "hlvecbytes"]
KINDS = ["none", "guest", "host"]
LEVELS = ["", "Error", "Warning", "Information", "Debug", "Trace"]


class Blob(ctypes.Structure):
    """struct mote_string and struct mote_bytes."""
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t)]

    def get(self):
        return ctypes.string_at(self.data, self.len) if self.len else b""


class Payload(ctypes.Union):
    _fields_ = [("bits", ctypes.c_uint64), ("blob", Blob)]


class Value(ctypes.Structure):
    """struct mote_value."""
    _fields_ = [("type", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("payload", Payload)]


class Call(ctypes.Structure):
    """struct mote__call_view."""
    _fields_ = [("name", Blob), ("kind", ctypes.c_uint32), ("result", ctypes.c_uint32),
                ("count", ctypes.c_uint32), ("parameters", ctypes.c_void_p)]


class Result(ctypes.Structure):
    """struct mote__result_view."""
    _fields_ = [("is_error", ctypes.c_bool), ("value", Value), ("code", ctypes.c_uint64),
                ("message", Blob)]


class Log(ctypes.Structure):
    """struct mote__log_record."""
    _fields_ = [("level", ctypes.c_uint32), ("line", ctypes.c_uint32), ("message", Blob),
                ("source", Blob), ("caller", Blob), ("file", Blob)]


def skip(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(77)


def load_codec(directory):
    if len(sys.argv) > 1:
        library = os.path.abspath(sys.argv[1])
    else:
        compiler = os.environ.get("CC", "cc")
        if not shutil.which(compiler):
            skip(f"no compiler {compiler}")
        library = os.path.join(directory, "codec.so")
        subprocess.run([compiler, "-std=gnu17", "-O1", "-shared", "-fPIC",
                        "-I" + os.path.join(TOP, "include"), "-I" + os.path.join(TOP, "src"),
                        "-o", library] + [os.path.join(TOP, "src", "core", s) for s in SOURCES],
                       check=True)
    codec = ctypes.CDLL(library)
    for name in ("call", "result", "error", "log"):
        getattr(codec, "mote__message_encode_" + name).restype = ctypes.c_int64
    return codec


# Random values, as pairs of a type and a Python value.

def random_text(rng):
    return "".join(rng.choice("ab\"\\\n/é€\U0001f4a9\x01 ") for _ in range(rng.randrange(12)))


def random_value(rng, kinds):
    kind = rng.choice(kinds)
    if kind == VOID:
        return kind, None
    if kind == STRING:
        return kind, random_text(rng)
    if kind == BYTES:
        return kind, rng.randbytes(rng.randrange(12))
    if kind == BOOL:
        return kind, rng.random() < 0.5
    if kind in (F32, F64):
        return kind, rng.choice([0.0, rng.randrange(-4000, 4000) / 8])
    size = 32 if kind in (I32, U32) else 64
    bits = rng.getrandbits(size) >> rng.randrange(size)
    if kind in (I32, I64):
        return kind, bits - (1 << (size - 1)) if rng.random() < 0.5 else bits >> 1
    return kind, bits


class Message:
    """One message: how to encode it, what flatc has to print, and how to compare a decoded one."""

    def encode(self, codec, buffer):
        raise NotImplementedError

    @staticmethod
    def blob(keep, data):
        memory = ctypes.create_string_buffer(data, max(len(data), 1))
        keep.append(memory)
        return Blob(ctypes.addressof(memory), len(data))

    def wire(self, keep, value):
        kind, content = value
        out = Value(type=kind)
        if kind == STRING:
            out.payload.blob = self.blob(keep, content.encode())
        elif kind == BYTES:
            out.payload.blob = self.blob(keep, content)
        elif kind == F32:
            out.payload.bits = struct.unpack("<I", struct.pack("<f", content))[0]
        elif kind == F64:
            out.payload.bits = struct.unpack("<Q", struct.pack("<d", content))[0]
        elif kind in INTEGERS:
            out.payload.bits = int.from_bytes(struct.pack("<" + INTEGERS[kind], content), "little")
        elif kind == BOOL:
            out.payload.bits = int(content)
        return out


def from_wire(value):
    kind, bits = value.type, struct.pack("<Q", value.payload.bits)
    if kind == VOID:
        return kind, None
    if kind == STRING:
        return kind, value.payload.blob.get().decode()
    if kind == BYTES:
        return kind, value.payload.blob.get()
    if kind == BOOL:
        return kind, bits[0] == 1
    if kind == F32:
        return kind, struct.unpack("<f", bits[:4])[0]
    if kind == F64:
        return kind, struct.unpack("<d", bits)[0]
    code = "<" + INTEGERS[kind]
    return kind, struct.unpack(code, bits[:struct.calcsize(code)])[0]


def value_text(value):
    """The table of a value, as flatc prints it."""
    kind, content = value
    if kind == VOID:
        return {}
    return {"value": list(content) if kind == BYTES else content}


class CallMessage(Message):
    root = "FunctionCall"

    def __init__(self, rng):
        self.name = random_text(rng)
        self.kind = rng.choice([1, 2])
        self.result = rng.randrange(10)
        self.values = [random_value(rng, range(1, 10)) for _ in range(rng.choice([0, 1, 2, 9, 32]))]

    def encode(self, codec, buffer):
        keep = []
        array = (Value * max(len(self.values), 1))(*[self.wire(keep, v) for v in self.values])
        return codec.mote__message_encode_call(
            buffer, ctypes.c_size_t(len(buffer)), self.kind, self.blob(keep, self.name.encode()),
            self.result, array, len(self.values))

    def text(self):
        result = "hlsizeprefixedbuffer" if self.result == BYTES else TABLES[self.result]
        call = {"function_name": self.name, "function_call_type": KINDS[self.kind],
                "expected_return_type": result}
        if self.values:
            call["parameters"] = [{"value_type": TABLES[v[0]], "value": value_text(v)}
                                  for v in self.values]
        return call

    def check(self, codec, data):
        call, values = Call(), (Value * 32)()
        assert codec.mote__message_decode_call(data, ctypes.c_size_t(len(data)),
                                               ctypes.byref(call)) == 0
        assert codec.mote__message_parameters(ctypes.byref(call), values) == 0
        assert call.name.get().decode() == self.name
        assert (call.kind, call.result, call.count) == (self.kind, self.result, len(self.values))
        assert [from_wire(v) for v in values[:call.count]] == self.values


class ResultMessage(Message):
    root = "FunctionCallResult"

    def __init__(self, rng):
        self.value = random_value(rng, range(10))

    def encode(self, codec, buffer):
        keep = []
        return codec.mote__message_encode_result(buffer, ctypes.c_size_t(len(buffer)),
                                                 ctypes.byref(self.wire(keep, self.value)))

    def text(self):
        table, name = value_text(self.value), TABLES[self.value[0]]
        if self.value[0] == BYTES:
            table["size"], name = len(self.value[1]), "hlsizeprefixedbuffer"
        return {"result_type": "ReturnValueBox", "result": {"value_type": name, "value": table}}

    def check(self, codec, data):
        result = Result()
        assert codec.mote__message_decode_result(data, ctypes.c_size_t(len(data)),
                                                 ctypes.byref(result)) == 0
        assert not result.is_error
        assert from_wire(result.value) == self.value


class ErrorMessage(Message):
    root = "FunctionCallResult"

    def __init__(self, rng):
        self.code = rng.choice([0, 17, rng.getrandbits(64)])
        self.message = random_text(rng)

    def encode(self, codec, buffer):
        message = self.message.encode()
        return codec.mote__message_encode_error(buffer, ctypes.c_size_t(len(buffer)),
                                                ctypes.c_uint64(self.code), message,
                                                ctypes.c_size_t(len(message)))

    def text(self):
        return {"result_type": "GuestError", "result": {"code": self.code, "message": self.message}}

    def check(self, codec, data):
        result = Result()
        assert codec.mote__message_decode_result(data, ctypes.c_size_t(len(data)),
                                                 ctypes.byref(result)) == 0
        assert result.is_error and result.code == self.code
        assert result.message.get().decode() == self.message


class LogMessage(Message):
    root = "GuestLogData"
    fields = {"message": "message", "source": "source", "caller": "caller", "file": "source_file"}

    def __init__(self, rng):
        self.level = rng.randrange(1, 6)
        self.line = rng.choice([0, rng.getrandbits(32)])
        self.strings = {name: random_text(rng) for name in self.fields}

    def encode(self, codec, buffer):
        keep = []
        log = Log(level=self.level, line=self.line)
        for name, text in self.strings.items():
            setattr(log, name, self.blob(keep, text.encode()))
        return codec.mote__message_encode_log(buffer, ctypes.c_size_t(len(buffer)),
                                              ctypes.byref(log))

    def text(self):
        out = {self.fields[name]: text for name, text in self.strings.items()}
        return {**out, "level": LEVELS[self.level], "line": self.line}

    def check(self, codec, data):
        log = Log()
        assert codec.mote__message_decode_log(data, ctypes.c_size_t(len(data)),
                                              ctypes.byref(log)) == 0
        assert (log.level, log.line) == (self.level, self.line)
        assert {name: getattr(log, name).get().decode() for name in self.fields} == self.strings


def flatc(directory, options, root, files):
    subprocess.run(["flatc", "--size-prefixed", "--root-type", "Hyperlight.Generated." + root,
                    "-o", directory] + options + [SCHEMA] +
                   (["--"] if "--json" in options else []) + files,
                   check=True, stdout=subprocess.DEVNULL)


def run(codec, directory, make, rng):
    messages = [make(rng) for _ in range(COUNT)]
    paths = [os.path.join(directory, f"{make.__name__}{i}") for i in range(COUNT)]
    buffer = ctypes.create_string_buffer(8192)
    for message, path in zip(messages, paths):
        size = message.encode(codec, buffer)
        assert size > 0, size
        with open(path + ".bin", "wb") as file:
            file.write(buffer.raw[:size])
        message.check(codec, buffer.raw[:size])
    flatc(directory, ["--json", "--raw-binary", "--strict-json"], make.root,
          [path + ".bin" for path in paths])
    for message, path in zip(messages, paths):
        with open(path + ".json", encoding="utf-8") as file:
            text = json.load(file)
        assert text == message.text(), f"flatc reads {text} instead of {message.text()}"
        os.remove(path + ".bin")
    flatc(directory, ["--binary"], make.root, [path + ".json" for path in paths])
    for message, path in zip(messages, paths):
        with open(path + ".bin", "rb") as file:
            message.check(codec, file.read())


def main():
    if not shutil.which("flatc"):
        skip("flatc is not installed")
    failed = 0
    kinds = [CallMessage, ResultMessage, ErrorMessage, LogMessage]
    with tempfile.TemporaryDirectory() as directory:
        codec = load_codec(directory)
        print(f"TAP version 13\n# seed {SEED}")
        for number, make in enumerate(kinds, 1):
            good = True
            try:
                run(codec, directory, make, random.Random(SEED))
            except (AssertionError, subprocess.CalledProcessError, ValueError) as error:
                print(f"# {type(error).__name__}: {error}")
                good, failed = False, failed + 1
            print(f"{'ok' if good else 'not ok'} {number} - message_flatc__{make.__name__}")
    print(f"1..{len(kinds)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
