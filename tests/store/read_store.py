#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second reader of stored snapshots, written from docs/snapshot-format.md alone.

	read_store.py STORE[:TAG | @sha256:DIGEST]

Verifies every digest, checks what the document says a reader must check, and prints what the
snapshot is as text: the same for the same snapshot. Exit status 0; 1 when the snapshot is refused,
with the reason on standard error. It needs nothing but Python, and runs nothing.
"""

import errno
import hashlib
import json
import os
import re
import stat
import struct
import sys

PAGE = 4096
KERNEL_GS_BASE = 0xC0000102
REVISION = 1
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
OURS = "application/vnd.mote.snapshot."
ARTIFACT = OURS + "v1"
CONFIG = OURS + "config.v1+json"
MEMORY = OURS + "memory.v1"
MAPPINGS = OURS + "mappings.v1"
SYMBOLS = OURS + "symbols.v1"
TAG = "org.opencontainers.image.ref.name"

MIB = 1 << 20
REGION = 0x3FFFFF000  # 16 GiB less a page
REGION_32 = 0x70000000
BASE = 0x1000  # gpa of the first byte of memory
SCRATCH_END = {64: 0xFFFFFFFFFFFFF000, 32: 1 << 32}
TYPES = ["i32", "u32", "i64", "u64", "f32", "f64", "string", "bool", "bytes"]
SEGMENTS = ["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"]
COW, EXECUTE, USER = 1, 2, 4
READ, WRITE, RUN = 1, 2, 4  # access in the configuration


class Refused(Exception):
    pass


# ---- JSON ------------------------------------------------------------------------------------


def parse(text, what):
    """An object, by the rules of all documents of the format."""

    def pairs(items):
        names = [name for name, _ in items]
        if len(set(names)) != len(names):
            raise Refused(f"{what}: a name twice in one object")
        return dict(items)

    def constant(name):
        raise Refused(f"{what}: {name} is no JSON")

    counts = {"containers": 0, "values": 0}

    def check(value, depth):
        is_object = isinstance(value, dict)
        counts["values"] += 1
        if is_object or isinstance(value, list):
            counts["containers"] += 1
            if depth == 64:
                raise Refused(f"{what}: nested deeper than 64")
            items = list(value) + list(value.values()) if is_object else value
            for item in items:
                check(item, depth + 1)
        elif isinstance(value, str):
            if "\0" in value or any(0xD800 <= ord(c) < 0xE000 for c in value):
                raise Refused(f"{what}: U+0000 or a lone surrogate in a string")

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
        check(value, 0)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what}: {error}") from None
    if counts["containers"] > 1 << 18 or counts["values"] > 1 << 22:
        raise Refused(f"{what}: too many values")
    if not isinstance(value, dict):
        raise Refused(f"{what}: not an object")
    return Value(value, what)


class Value:
    """A value of a document, with the path to it. Each accessor checks type and range."""

    def __init__(self, value, path):
        self.value, self.path = value, path

    def refuse(self, why):
        raise Refused(f"{self.path}: {why}")

    def of(self, kind, name):
        if not isinstance(self.value, kind) or (kind is int and isinstance(self.value, bool)):
            self.refuse(f"not {name}")
        return self.value

    def has(self, name):
        return name in self.of(dict, "an object")

    def get(self, name):
        path = f"{self.path}: {name}" if ":" not in self.path[-1:] else self.path + name
        if name not in self.of(dict, "an object"):
            raise Refused(f"{path}: missing")
        return Value(self.value[name], path)

    def only(self, *names):
        for name in self.of(dict, "an object"):
            if name not in names:
                self.refuse(f"unknown field {name!r}")

    def number(self, low, high):
        number = self.of(int, "an integer")
        if not low <= number <= high:
            self.refuse(f"{number} is not in {low} to {high}")
        return number

    def flag(self):
        return self.of(bool, "true or false")

    def text(self, low, high):
        text = self.of(str, "a string")
        if not low <= len(text.encode()) <= high:
            self.refuse(f"not {low} to {high} bytes long")
        return text

    def word(self, *words):
        if self.of(str, "a string") not in words:
            self.refuse(f"{self.value!r} is none of {', '.join(words)}")
        return self.value

    def address(self, end=1 << 64):
        if not re.fullmatch(r"0x(0|[1-9a-f][0-9a-f]{0,15})", self.of(str, "a string")):
            self.refuse(f"{self.value!r} is no address")
        if int(self.value, 16) >= end:
            self.refuse(f"{self.value} is not below 0x{end:x}")
        return int(self.value, 16)

    def items(self, low, high):
        items = self.of(list, "an array")
        if not low <= len(items) <= high:
            self.refuse(f"{len(items)} entries, limits are {low} to {high}")
        return [Value(item, f"{self.path}[{i}]") for i, item in enumerate(items)]

    def digest(self):
        digest = self.of(str, "a string")
        if not digest.startswith("sha256:") and re.match(r"[a-z0-9]+([+._-][a-z0-9]+)*:", digest):
            self.refuse(f"digest of the algorithm {digest.split(':')[0]}, sha256 is expected")
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            self.refuse(f"{digest!r} is no digest")
        return digest


# ---- store -----------------------------------------------------------------------------------


def read_file(directory, name, limit, what):
    """The bytes of a regular file of at most limit bytes."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{what}: a symbolic link") from None
        raise Refused(f"{what}: {error.strerror}") from None
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
        os.close(fd)
        is_file = stat.S_ISREG(facts.st_mode)
        raise Refused(f"{what}: " + (f"more than {limit} bytes" if is_file else "no regular file"))
    with os.fdopen(fd, "rb") as file:
        return file.read(limit + 1)


class Store:
    def __init__(self, path):
        try:
            self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            self.blobs = os.open("blobs", flags, dir_fd=self.root)
            self.sha256 = os.open("sha256", flags, dir_fd=self.blobs)
        except OSError as error:
            raise Refused(f"no store: {error.strerror}") from None
        layout = parse(read_file(self.root, "oci-layout", 4096, "oci-layout"), "oci-layout")
        layout.get("imageLayoutVersion").word("1.0.0")

    def entries(self):
        """Of the index: pairs of tag (None: none) and the entry."""
        index = parse(read_file(self.root, "index.json", 16 * MIB, "index.json"), "index.json")
        index.get("schemaVersion").number(2, 2)
        if index.has("mediaType"):
            index.get("mediaType").word(INDEX)
        for entry in index.get("manifests").items(0, 16384):
            tag = None
            if entry.has("annotations") and entry.get("annotations").has(TAG):
                tag = entry.get("annotations").get(TAG).text(0, 65536)
            yield tag, entry

    def find(self, reference):
        """The entry that a tag or a digest names."""
        if reference.startswith("sha256:"):
            found = [e for _, e in self.entries() if e.get("digest").value == reference]
        else:
            found = [e for tag, e in self.entries() if tag == reference]
        if not found:
            raise Refused(f"{reference}: not found")
        if len({e.get("digest").value for e in found}) > 1:
            raise Refused(f"{reference}: two manifests have this tag")
        entry = found[0]
        entry.get("mediaType").word(MANIFEST)
        if entry.has("artifactType"):
            entry.get("artifactType").word(ARTIFACT)
        return entry

    def read(self, descriptor, low, high, what):
        """The bytes of a blob, verified."""
        size = descriptor.get("size").number(low, high)
        digest = descriptor.get("digest").digest()
        bytes_ = read_file(self.sha256, digest[7:], size, what)
        if len(bytes_) != size:
            raise Refused(f"{what}: {len(bytes_)} bytes, {size} expected")
        if hashlib.sha256(bytes_).hexdigest() != digest[7:]:
            raise Refused(f"{what}: the bytes have another digest")
        return bytes_


class Manifest:
    """The descriptors of a snapshot's blobs."""

    def __init__(self, manifest):
        manifest.get("schemaVersion").number(2, 2)
        if manifest.has("mediaType"):
            manifest.get("mediaType").word(MANIFEST)
        if manifest.has("artifactType"):
            manifest.get("artifactType").word(ARTIFACT)
        self.config = manifest.get("config")
        self.config.get("mediaType").word(CONFIG)
        self.config.get("size").number(1, 16 * MIB)
        layers = manifest.get("layers").items(2, 34)
        kinds = [layer.get("mediaType").word(MEMORY, MAPPINGS, SYMBOLS) for layer in layers]
        count = kinds.count(MEMORY)
        if kinds not in ([MEMORY] * count + [MAPPINGS], [MEMORY] * count + [MAPPINGS, SYMBOLS]):
            raise Refused(f"{manifest.path}: layers: not memory, mappings, symbols in this order")
        if not 1 <= count <= 32:
            raise Refused(f"{manifest.path}: layers: {count} of memory, limits are 1 to 32")
        self.memory, self.mappings = layers[:count], layers[count]
        self.symbols = layers[count + 1] if len(layers) > count + 1 else None
        for layer in self.memory:
            if layer.get("size").number(PAGE, 1 << 34) % PAGE:
                layer.get("size").refuse("no multiple of 4096")
        for blob in [self.config] + layers:
            blob.get("digest").digest()


# ---- configuration ---------------------------------------------------------------------------


def read_function(value):
    result = value.get("result").word("void", *TYPES)
    parameters = [p.word(*TYPES) for p in value.get("parameters").items(0, 32)]
    return f"{result} {value.get('name').text(1, 255)!a}({', '.join(parameters)})"


class Config:
    """The configuration: every field is looked at, so that every one has its form."""

    FIELDS = """version leastReader family bits kind state generation sizes initDataAccess
        executableHeap largeLeaves image symbols memory zeroPage writeSet start host allowedMsrs
        processor metadata""".split()

    def __init__(self, root, manifest):
        self.root = root
        version = root.get("version").number(1, 2**32 - 1)
        least = root.get("leastReader").number(1, 2**32 - 1)
        if least > REVISION:
            root.refuse(f"needs a reader of revision {least}, this one is {REVISION}")
        if least > version:
            root.get("leastReader").refuse(f"{least} is more than version, {version}")
        self.is_strict = version <= REVISION
        self.only(root, *self.FIELDS)
        root.get("family").word("S")
        self.bits = root.get("bits").number(32, 64)
        if self.bits not in (32, 64):
            root.get("bits").refuse(f"{self.bits} is neither 32 nor 64")
        self.is_confined = root.get("kind").word("confined", "stock") == "confined"
        if self.is_confined and self.bits != 64:
            root.get("bits").refuse("a confined guest has 64 bits")
        self.is_ready = root.get("state").word("new", "ready") == "ready"
        self.generation = root.get("generation").number(0, 2**64 - 1)
        self.read_sizes()
        self.init_access = root.get("initDataAccess").word("r", "rw", "rx", "rwx")
        if self.is_confined and self.init_access == "rwx":
            root.get("initDataAccess").refuse("writable and executable")
        self.has_executable_heap = root.get("executableHeap").flag()
        self.has_large = root.get("largeLeaves").flag()
        self.read_image(root.get("image"))
        self.check_kind()
        self.read_memory(manifest)
        self.read_write_set(root.get("writeSet"))
        self.msrs = [m.address(1 << 32) for m in root.get("allowedMsrs").items(0, 15)]
        if self.is_confined and self.msrs:
            root.get("allowedMsrs").refuse("of a confined guest")
        self.start = self.host = None
        for name in ("start", "host"):
            if root.has(name) != self.is_ready:
                root.refuse(f"{name}: {'missing' if self.is_ready else 'the snapshot is new'}")
        if self.is_ready:
            self.read_start(root.get("start"))
            host = root.get("host")
            self.only(host, "functions")
            self.host = [read_function(f) for f in host.get("functions").items(0, 16384)]
        self.read_symbols(manifest)
        self.features = None
        if root.has("processor"):
            self.only(root.get("processor"), "features")
            self.features = []
            for feature in root.get("processor").get("features").items(0, 1024):
                if not re.fullmatch("[a-z0-9_.-]{1,32}", feature.of(str, "a string")):
                    feature.refuse("no name of a feature")
                self.features.append(feature.value)
        self.read_metadata(root.get("metadata"))

    def check_kind(self):
        """What guests of one kind have, and the others have not."""
        if self.is_confined and not self.image_facts["note"]:
            self.root.refuse("image.note: a confined guest has one")
        if self.is_confined and self.has_executable_heap:
            self.root.get("executableHeap").refuse("of a confined guest")
        if not self.is_confined and self.has_large:
            self.root.get("largeLeaves").refuse("of a stock guest")
        for name in ("stack", "mappings"):
            if not self.is_confined and self.sizes[name]:
                self.root.get("sizes").get(name).refuse("of a stock guest")

    def only(self, value, *names):
        if self.is_strict:
            value.only(*names)

    def read_sizes(self):
        sizes = self.root.get("sizes")
        names = ["input", "output", "heap", "stack", "scratch", "mappings", "initData"]
        self.only(sizes, *names)
        low = {"input": 0x2000, "output": 0x2000, "stack": PAGE if self.is_confined else 0}
        self.sizes = {n: sizes.get(n).number(low.get(n, 0), REGION) for n in names}
        if self.sizes["scratch"] % PAGE:
            sizes.get("scratch").refuse("no multiple of 4096")

    def read_image(self, image):
        names = """address bytes pages positionIndependent note level versionNote buildId entry
            dispatch syscall exports imports""".split()
        self.only(image, *names)
        self.image_gva = image.get("address").address()
        self.image_bytes = image.get("bytes").number(PAGE, REGION)
        if self.image_gva % PAGE or self.image_bytes % PAGE:
            image.refuse("address or bytes is no multiple of 4096")
        if self.image_gva + self.image_bytes > (1 << 47 if self.bits == 64 else 1 << 32):
            image.refuse("beyond the address space")
        self.pages, end = [], 0
        for run in image.get("pages").items(0, 129 if self.is_confined else 0):
            self.only(run, "first", "count", "access")
            first, count = run.get("first").number(0, 1 << 32), run.get("count").number(1, 1 << 32)
            access = run.get("access").number(1, 7)
            if first < end or (first + count) * PAGE > self.image_bytes:
                run.refuse("not behind the run before, or outside the image")
            if access & WRITE and access & RUN:
                run.refuse("writable and executable")
            end = first + count
            self.pages.append((first, count, access))
        self.image_facts = {
            "position independent": image.get("positionIndependent").flag(),
            "note": image.get("note").flag(),
            "level": image.get("level").number(0, 4),
            "version note": image.get("versionNote").text(0, 31),
            "build ID": image.get("buildId").text(0, 128),
        }
        if not re.fullmatch("([0-9a-f]{2})*", self.image_facts["build ID"]):
            image.get("buildId").refuse("no hexadecimal digits")
        self.entries = {n: image.get(n).address() for n in ("entry", "dispatch", "syscall")}
        self.exports = [read_function(f) for f in image.get("exports").items(0, 16384)]
        self.imports = [read_function(f) for f in image.get("imports").items(0, 16384)]

    def read_memory(self, manifest):
        items = self.root.get("memory").items(1, 32)
        if len(items) != len(manifest.memory):
            self.root.get("memory").refuse(f"{len(items)} entries, the manifest has another number")
        self.memory_end = BASE
        for item, blob in zip(items, manifest.memory):
            self.only(item, "address", "bytes")
            if item.get("address").address() != self.memory_end:
                item.get("address").refuse(f"not 0x{self.memory_end:x}")
            if item.get("bytes").number(PAGE, 1 << 34) != blob.get("size").value:
                item.get("bytes").refuse("not the size of the blob")
            self.memory_end += item.get("bytes").value
        if self.memory_end - BASE > (REGION if self.bits == 64 else REGION_32):
            self.root.get("memory").refuse("too much")
        self.zero = self.root.get("zeroPage").address()
        if self.zero and (self.zero % PAGE or not BASE <= self.zero < self.memory_end):
            self.root.get("zeroPage").refuse("not in the memory")
        if self.is_confined and not self.zero:
            self.root.get("zeroPage").refuse("a confined guest has one")

    def read_write_set(self, value):
        self.only(value, "max", "pages")
        self.write_set_max = value.get("max").number(0, 4096)
        self.write_set = [
            p.address() for p in value.get("pages").items(0, 4096 if self.is_confined else 0)
        ]
        if len(set(self.write_set)) != len(self.write_set):
            value.get("pages").refuse("a page twice")

    def read_start(self, start):
        rest = ["fsBase", "gsBase"] if self.is_confined else ["special", "msrs"]
        self.only(start, "dispatch", "stack", *rest)
        self.start = {n: start.get(n).address() for n in ("dispatch", "stack")}
        if self.start["stack"] % 16:
            start.get("stack").refuse("no multiple of 16")
        if self.is_confined:
            for name in ("fsBase", "gsBase"):
                self.start[name] = start.get(name).address()
                if not is_canonical(self.start[name], 64):
                    start.get(name).refuse("not canonical")
            if self.start["dispatch"] != self.entries["dispatch"]:
                start.get("dispatch").refuse("not image.dispatch")
            return
        special = start.get("special")
        bases = ["gdtBase", "idtBase", "cr0", "cr2", "cr4", "efer"]
        limits = ["gdtLimit", "idtLimit"]
        self.only(special, *SEGMENTS, *bases, *limits)
        for name in SEGMENTS:
            self.start[name] = self.read_segment(special.get(name))
        for name in bases:
            self.start[name] = special.get(name).address()
        for name in limits:
            self.start[name] = special.get(name).number(0, 0xFFFF)
        self.check_registers(special)
        for msr in start.get("msrs").items(0, 24):
            self.only(msr, "index", "value")
            index, value = msr.get("index").address(1 << 32), msr.get("value").address()
            if index not in self.msrs and index != KERNEL_GS_BASE:
                msr.refuse(f"0x{index:x}: not one that the guest may use")
            if index == KERNEL_GS_BASE and not is_canonical(value, 64):
                msr.get("value").refuse("not canonical")
            if f"msr 0x{index:x}" in self.start:
                msr.get("index").refuse("twice")
            self.start[f"msr 0x{index:x}"] = value

    def read_segment(self, segment):
        high = {"limit": 2**32 - 1, "selector": 0xFFFF, "type": 15, "dpl": 3}
        names = ["limit", "selector", "type", "present", "dpl", "db", "s", "l", "g", "unusable"]
        self.only(segment, "base", *names)
        fields = {"base": segment.get("base").address()}
        fields.update({n: segment.get(n).number(0, high.get(n, 1)) for n in names})
        return fields

    def check_registers(self, special):
        """Whether a guest can be entered with them."""
        s, is_64 = self.start, self.bits == 64
        if s["cr0"] & ~0xE005003F or s["cr0"] & 0x80000001 != 0x80000001 or s["cr0"] >> 29 & 3 == 1:
            special.get("cr0").refuse("no paging, or bits that are reserved")
        if s["cr4"] & ~(0x330FFF if is_64 else 0x310FFF) or bool(s["cr4"] & 0x20) != is_64:
            special.get("cr4").refuse("another kind of paging, or bits that guests do not get")
        if s["efer"] != (0xD01 if is_64 else 0):
            special.get("efer").refuse("not what the ABI has")
        for name in ("gdtBase", "idtBase") if is_64 else ("gdtBase", "idtBase", "cr2"):
            if not is_canonical(s[name], self.bits):
                special.get(name).refuse("not canonical")
        usable = {n: s[n]["present"] and not s[n]["unusable"] for n in SEGMENTS}
        for name in SEGMENTS:
            wrong = self.check_segment(name, s[name], usable[name])
            if wrong:
                special.get(name).refuse(wrong)
        code, stack = s["cs"], s["ss"]
        if (code["l"], code["db"]) != ((1, 0) if is_64 else (0, 1)):
            special.get("cs").refuse("of another mode")
        if usable["ss"] and code["dpl"] != stack["dpl"]:
            if not code["type"] & 4 or code["dpl"] > stack["dpl"]:
                special.get("cs").refuse("dpl does not suit that of SS")

    def check_segment(self, name, segment, is_usable):
        """What is wrong with a segment, or None."""
        is_system = name in ("tr", "ldt")
        if not is_canonical(segment["base"], self.bits):
            return "base is not canonical"
        if not is_usable:
            return "not usable" if name in ("cs", "tr") else None
        if not is_system and name not in ("fs", "gs") and segment["base"] >> 32:
            return "base is not below 2^32"
        if segment["s"] == is_system:
            return "s is wrong"
        if segment["limit"] & 0xFFF != 0xFFF if segment["g"] else segment["limit"] >> 20:
            return "limit does not suit g"
        types = {
            "cs": (9, 11, 13, 15),
            "ss": (3, 7),
            "tr": (11,) if self.bits == 64 else (3, 11),
            "ldt": (2,),
        }
        if segment["type"] not in types.get(name, (1, 3, 5, 7, 11, 15)):
            return f"type is {segment['type']}"
        return None

    def read_symbols(self, manifest):
        self.symbols = None
        if self.root.has("symbols") != (manifest.symbols is not None):
            self.root.refuse("symbols: here and in the manifest, or in neither")
        if manifest.symbols is None:
            return
        value = self.root.get("symbols")
        self.only(value, "table", "strings", "shift")
        table = value.get("table").number(0, 256 * MIB)
        strings = value.get("strings").number(0, 256 * MIB)
        self.symbols = (table, strings, value.get("shift").address())
        if table + strings != manifest.symbols.get("size").number(1, 256 * MIB):
            value.refuse("not the size of the blob")

    def read_metadata(self, value):
        self.metadata = []
        for item in value.items(0, 16):
            self.only(item, "name", "json")
            name, text = item.get("name").text(1, 255), item.get("json").text(1, 65536)
            if name in dict(self.metadata):
                item.get("name").refuse("twice")
            try:
                json.loads(text, parse_constant=lambda c: int(c))
            except ValueError:
                item.get("json").refuse("not JSON")
            self.metadata.append((name, text))


# ---- mappings --------------------------------------------------------------------------------


def is_canonical(address, bits):
    if bits == 32:
        return address < 1 << 32
    return address < 1 << 47 or (1 << 64) - (1 << 47) <= address < 1 << 64


def round_up(bytes_, to=PAGE):
    return -(-bytes_ // to) * to


def parts_of(config):
    """The parts of a confined guest: first gva, gva behind, the flags that a run there may have."""

    def flags(is_writable, is_executable):
        return USER | (COW if is_writable else 0) | (EXECUTE if is_executable else 0)

    sizes = {name: round_up(size) for name, size in config.sizes.items()}
    parts = []
    for first, count, access in config.pages:
        gva = config.image_gva + first * PAGE
        parts.append((gva, gva + count * PAGE, {flags(access & WRITE, access & RUN)}))
    at = config.image_gva + config.image_bytes
    parts.append((at, at + PAGE, {USER}))
    at += PAGE
    is_writable = "w" in config.init_access
    init = {flags(is_writable, "x" in config.init_access)}
    is_apart = config.has_large and config.sizes["initData"] >= 2 * MIB and not is_writable
    if not is_apart:
        parts.append((at, at + sizes["initData"], init))
        at += sizes["initData"]
    at += 0x10000
    parts.append((at, at + sizes["stack"], {USER | COW}))
    at += sizes["stack"]
    if config.is_ready and config.start["stack"] != at:
        raise Refused(f"start.stack is not 0x{at:x}, the end of the stack")
    at += PAGE
    parts.append((at, at + sizes["heap"], {USER | COW}))
    at += sizes["heap"] + PAGE
    parts.append((at, at + sizes["mappings"], {USER, USER | COW}))
    at += sizes["mappings"] + PAGE
    if is_apart:
        at = round_up(at, 2 * MIB)
        parts.append((at, at + sizes["initData"], init))
        at += sizes["initData"] + PAGE
    if at > 0x7FFFFFFFF000:
        raise Refused("layout: the guest's parts end beyond 0x7ffffffff000")
    return parts


def spans_of(config):
    """The addresses that are a stock guest's own: first, behind."""
    end = SCRATCH_END[config.bits] - config.sizes["scratch"]
    if config.bits == 32:
        return [(0, end)]
    return [(0, 1 << 47), (0xFFFF810000000000, end)]


class Mappings:
    RUN, LINK = 1, 2

    def __init__(self, bytes_, config):
        self.config = config
        magic, version, self.roots, count, zero = struct.unpack_from("<8sIIQQ", bytes_)
        if magic != b"MOTEMAPS" or version != 1 or zero:
            raise Refused("mappings: magic, version or reserved field of the header")
        if not 1 <= self.roots <= (1 if config.is_confined else 256):
            raise Refused(f"mappings: {self.roots} address spaces")
        if count > 1 << 22 or len(bytes_) != 32 + 32 * count:
            raise Refused(f"mappings: {count} records, but {len(bytes_)} bytes")
        if config.is_confined:
            self.places = parts_of(config)
        else:
            self.places = [(a, b, None) for a, b in spans_of(config)]
        self.records, self.pages = [], 0
        self.last = (0, 0)  # root and address behind the record before
        for i, record in enumerate(struct.iter_unpack("<IIQQII", bytes_[32:])):
            try:
                self.add(*record)
            except Refused as error:
                raise Refused(f"mappings: record {i}: {error}") from None

    def add(self, kind, root, va, target, count, flags):
        if root >= self.roots:
            raise Refused(f"root {root} of {self.roots}")
        if kind == self.RUN:
            bytes_ = self.check_run(va, target, count, flags)
        elif kind == self.LINK and not self.config.is_confined:
            bytes_ = self.check_link(root, va, target, count, flags)
        else:
            raise Refused(f"kind {kind}")
        allowed = [p for p in self.places if p[0] <= va and va + bytes_ <= p[1]]
        if not allowed and kind == self.RUN:
            raise Refused(f"va 0x{va:x} with {count} pages is not in one part of the guest")
        if self.config.is_confined and flags not in allowed[0][2]:
            raise Refused(f"flags {flags} are not those of the part at 0x{va:x}")
        if (root, va) < self.last:
            raise Refused(f"va 0x{va:x} is not behind the record before")
        self.last = (root, va + bytes_)
        self.records.append((kind, root, va, target, count, flags))

    def check_run(self, va, target, count, flags):
        if va % PAGE or not count or flags & ~(COW | EXECUTE | USER):
            raise Refused(f"va 0x{va:x}, count {count} or flags {flags}")
        self.pages += count
        if self.pages > 1 << 24:
            raise Refused("more than 2^24 pages")
        if target % PAGE:
            raise Refused(f"target 0x{target:x} is no multiple of 4096")
        if target and not BASE <= target <= target + count * PAGE <= self.config.memory_end:
            raise Refused(f"target 0x{target:x} with {count} pages is not in the memory")
        if not target and not self.config.zero:
            raise Refused("zeroes, but there is no page of zeroes")
        return count * PAGE

    def link_bytes(self, level):
        """What a table of a level maps."""
        return 1 << 12 + (9 if self.config.bits == 64 else 10) * level

    def check_link(self, root, va, target, owner, level):
        if not 1 <= level < (4 if self.config.bits == 64 else 2):
            raise Refused(f"level {level}")
        bytes_ = self.link_bytes(level)
        if va % bytes_ or target % bytes_ or not is_canonical(va, self.config.bits):
            raise Refused(f"va 0x{va:x} or target 0x{target:x} is not aligned to 0x{bytes_:x}")
        if (owner, target) >= (root, va):
            raise Refused(f"the owner, 0x{target:x} of root {owner}, is not before")
        ends = [[b for a, b, _ in self.places if a <= gva < b] for gva in (va, target)]
        if not ends[0] or not ends[1] or (va + bytes_ > ends[0][0] and va != target):
            raise Refused(f"va 0x{va:x} or target 0x{target:x} is not the guest's")
        if va + bytes_ > ends[0][0]:
            return bytes_  # with the map of scratch
        if not any(r == owner and a < target + bytes_ and b > target for r, a, b in self.ranges()):
            raise Refused(f"the owner, 0x{target:x} of root {owner}, has nothing there")
        return bytes_

    def ranges(self):
        for kind, root, va, _, count, flags in self.records:
            yield root, va, va + (count * PAGE if kind == self.RUN else self.link_bytes(flags))

    def flags(self, gva):
        """What the first address space lets the guest do there; None: nothing is listed."""
        root = 0
        for kind, r, va, target, count, flags in reversed(self.records):
            bytes_ = count * PAGE if kind == self.RUN else self.link_bytes(flags)
            if r != root or not va <= gva < va + bytes_:
                continue
            if kind == self.RUN:
                return flags
            root, gva = count, gva - va + target  # the owner is listed before
        return None

    def check_entries(self):
        """Where the guest is entered it may execute."""
        config, gvas = self.config, []
        if not config.is_ready:
            gvas.append(("image.entry", config.entries["entry"]))
        else:
            gvas.append(("start.dispatch", config.start["dispatch"]))
        if config.is_confined:
            gvas.append(("image.dispatch", config.entries["dispatch"]))
            gvas.append(("image.syscall", config.entries["syscall"] or gvas[0][1]))
        for name, gva in gvas:
            if not (self.flags(gva) or 0) & EXECUTE:
                raise Refused(f"{name} is 0x{gva:x}, which the guest may not execute")

    def check_write_set(self):
        on_demand = [(a, b) for a, b, flags in self.places if flags == {USER | COW}]
        for page in self.config.write_set:
            is_listed = (self.flags(page) or 0) & COW
            if page % PAGE or not (is_listed or any(a <= page < b for a, b in on_demand)):
                raise Refused(f"writeSet.pages has 0x{page:x}, no page that the guest can write")


# ---- what it is ------------------------------------------------------------------------------


def describe(config, mappings, memory):
    """The snapshot as lines of text."""

    def yes(flag):
        return "yes" if flag else "no"

    state = "ready" if config.is_ready else "new"
    kind = "confined" if config.is_confined else "stock"
    yield f"snapshot: {kind}, {state}, {config.bits} bits, family S, generation {config.generation}"
    yield "sizes: " + ", ".join(f"{name} {size}" for name, size in config.sizes.items())
    yield (
        f"init data {config.init_access}, executable heap {yes(config.has_executable_heap)}, "
        f"large leaves {yes(config.has_large)}"
    )
    yield f"image: 0x{config.image_gva:x}, {config.image_bytes} bytes"
    for first, count, access in config.pages:
        text = "".join(c if access & bit else "-" for c, bit in zip("rwx", (1, 2, 4)))
        yield f"  page {first}, {count} pages: {text}"
    for name, value in config.image_facts.items():
        yield f"  {name}: {yes(value) if isinstance(value, bool) else value}"
    for name, value in config.entries.items():
        yield f"  {name}: 0x{value:x}"
    for name, functions in (("exports", config.exports), ("imports", config.imports)):
        for function in functions:
            yield f"  {name}: {function}"
    if config.symbols:
        table, strings, shift = config.symbols
        yield f"symbols: {table} + {strings} bytes, shift 0x{shift:x}"
    yield f"memory: {len(memory)} bytes from 0x{BASE:x}, page of zeroes 0x{config.zero:x}"
    pages = " ".join(f"0x{p:x}" for p in config.write_set)
    yield f"write set: at most {config.write_set_max}: {pages}"
    for name, value in (config.start or {}).items():
        if isinstance(value, dict):
            value = " ".join(f"{n} 0x{v:x}" for n, v in value.items())
        yield f"start: {name} {value if isinstance(value, str) else hex(value)}"
    for function in config.host or []:
        yield f"host: {function}"
    for msr in config.msrs:
        yield f"may use model-specific register 0x{msr:x}"
    if config.features is not None:
        yield "has seen a processor with: " + " ".join(config.features)
    for name, text in config.metadata:
        yield f"metadata: {name!a} {text!a}"
    yield f"address spaces: {mappings.roots}"
    for kind, root, va, target, count, flags in mappings.records:
        if kind == Mappings.LINK:
            yield f"  {root} 0x{va:016x} table of level {flags}: that of {count} at 0x{target:016x}"
            continue
        bytes_ = memory[target - BASE :][: count * PAGE] if target else b""
        access = "r" + "".join(c if flags & bit else "-" for c, bit in zip("wxu", (1, 2, 4)))
        content = hashlib.sha256(bytes_).hexdigest() if any(bytes_) else "zeroes"
        yield f"  {root} 0x{va:016x} {count} {access} {content}"


def read(store, reference):
    """Read, verify and check a snapshot; its lines."""
    store = Store(store)
    entry = store.find(reference)
    name = "manifest " + entry.get("digest").digest()
    manifest = Manifest(parse(store.read(entry, 1, MIB, name), name))
    name = "config " + manifest.config.get("digest").digest()
    text = store.read(manifest.config, 1, 16 * MIB, name)
    config = Config(parse(text, name), manifest)
    if manifest.symbols:
        store.read(manifest.symbols, 1, 256 * MIB, "symbols")
    memory = b"".join(
        store.read(blob, PAGE, 1 << 34, f"memory layer {i}")
        for i, blob in enumerate(manifest.memory)
    )
    if config.zero and any(memory[config.zero - BASE :][:PAGE]):
        raise Refused(f"zeroPage is 0x{config.zero:x}, where memory is not zero")
    mappings = Mappings(store.read(manifest.mappings, 32, 32 + (32 << 22), "mappings"), config)
    mappings.check_entries()
    mappings.check_write_set()
    return describe(config, mappings, memory)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read_store.py STORE[:TAG | @sha256:DIGEST]")
    found = re.fullmatch(r"(.+?)(?:@(sha256:.*)|:([^:/]*))?", sys.argv[1], re.DOTALL)
    try:
        for line in read(found[1], found[2] or found[3] or "latest"):
            print(line)
    except Refused as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
