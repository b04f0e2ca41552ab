#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The second reader of the format of stored snapshots on stores of three origins; prints TAP.

	test_store_reader.py [MOTE]

The golden stores beside this file were written by the library: what the reader says of them is
compared with golden/*.txt (UPDATE=1 writes these anew: read the diff). Small stores made here, from
docs/snapshot-format.md alone, are read, and refused when something in them is changed that the
document says is to be refused. With MOTE, the command, the library reads and refuses the same.
"""

import copy
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import read_store as r

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
MOTE = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None


def function(name, result, *parameters):
    return {"name": name, "result": result, "parameters": list(parameters)}


def segment(**fields):
    value = dict.fromkeys(
        ["limit", "selector", "type", "present", "dpl", "db", "s", "l", "g", "unusable"], 0
    )
    value["base"] = "0x0"
    value.update(fields)
    return value


class Made:
    """A store in the making: everything may be changed before it is written."""

    def __init__(self):
        page = bytes(range(256)) * 16
        # code, data, the PEB, a page of zeroes; in a second layer the data as a call left it
        self.memory = [page + page[::-1] + bytes(2 * r.PAGE), b"data" * 1024]
        self.header = (b"MOTEMAPS", 1, 1, None, 0)  # None: as many as there are
        run = r.Mappings.RUN
        self.records = [
            [run, 0, 0x1000, 0x1000, 1, r.USER | r.EXECUTE],
            [run, 0, 0x2000, 0x5000, 1, r.USER | r.COW],
            [run, 0, 0x3000, 0x3000, 1, r.USER],
            [run, 0, 0x16000, 0, 1, r.USER | r.COW],
        ]
        self.config = {
            "version": 1,
            "leastReader": 1,
            "family": "S",
            "bits": 64,
            "kind": "confined",
            "state": "ready",
            "generation": 1,
            "sizes": {"input": 16384, "output": 16384, "heap": 65536, "stack": 16384, "scratch": 0,
                      "mappings": 0, "initData": 0},
            "initDataAccess": "r",
            "executableHeap": False,
            "largeLeaves": False,
            "image": {"address": "0x1000", "bytes": 8192,
                      "pages": [{"first": 0, "count": 1, "access": 5},
                                {"first": 1, "count": 1, "access": 3}],
                      "positionIndependent": True, "note": True, "level": 1, "versionNote": "",
                      "buildId": "0badcafe", "entry": "0x1010", "dispatch": "0x1020",
                      "syscall": "0x0", "exports": [function("add", "i32", "i32", "i32")],
                      "imports": [function("now", "u64")]},
            "memory": [],
            "zeroPage": "0x4000",
            "writeSet": {"max": 64, "pages": ["0x17000", "0x2000"]},
            "start": {"dispatch": "0x1020", "stack": "0x18000", "fsBase": "0x0", "gsBase": "0x0"},
            "host": {"functions": [function("now", "u64")]},
            "allowedMsrs": [],
            "processor": {"features": ["sse3", "a-feature-of-the-future"]},
            "metadata": [{"name": "com.example.build", "json": "{\"commit\": \"4f2a\"}"}],
        }
        self.symbols = bytes(24) + b"\0add\0"
        self.config["symbols"] = {"table": 24, "strings": 5, "shift": "0x0"}
        self.manifest, self.entry, self.index = {}, {}, {"schemaVersion": 2}
        self.tag, self.extra = "latest", []
        self.layout = b'{"imageLayoutVersion":"1.0.0"}'
        self.config_bytes = self.manifest_bytes = None  # in place of what would be written

    @staticmethod
    def stock():
        made = Made()
        config, image = made.config, made.config["image"]
        data = segment(unusable=1)
        config.update(kind="stock", zeroPage="0x0", allowedMsrs=["0x10"], metadata=[],
                      writeSet={"max": 0, "pages": []})
        config["sizes"].update(stack=0, scratch=0x48000)
        image.update(pages=[], note=False, level=0, dispatch="0x0", exports=[], imports=[])
        config["start"] = {
            "dispatch": "0x1020", "stack": "0x2ff0",
            "msrs": [{"index": "0x10", "value": "0x7"}, {"index": "0xc0000102", "value": "0x0"}],
            "special": {"cs": segment(type=11, present=1, s=1, l=1), "ds": data, "es": data,
                        "fs": data, "gs": data, "ss": data,
                        "tr": segment(limit=0xFFFF, type=11, present=1),
                        "ldt": data, "gdtBase": "0x0", "gdtLimit": 0, "idtBase": "0x0",
                        "idtLimit": 0,
                        "cr0": "0x80050033", "cr2": "0x0", "cr4": "0x620", "efer": "0xd01"}}
        run, link = r.Mappings.RUN, r.Mappings.LINK
        made.header = (b"MOTEMAPS", 1, 2, None, 0)
        made.records = [
            [run, 0, 0x1000, 0x1000, 1, r.EXECUTE | r.COW],
            [run, 0, 0xFFFFFF0000000000, 0x2000, 2, r.COW],
            [run, 1, 0x1000, 0x5000, 1, r.EXECUTE | r.COW | r.USER],
            [link, 1, 0xFFFFFF0000000000, 0xFFFFFF0000000000, 0, 3],
        ]
        return made

    def put(self, directory, bytes_):
        digest = hashlib.sha256(bytes_).hexdigest()
        with open(os.path.join(directory, "blobs", "sha256", digest), "wb") as file:
            file.write(bytes_)
        return {"digest": "sha256:" + digest, "size": len(bytes_)}

    def write(self, directory):
        os.makedirs(os.path.join(directory, "blobs", "sha256"))
        config, at = copy.deepcopy(self.config), r.BASE
        if not config["memory"]:
            for layer in self.memory:
                config["memory"].append({"address": hex(at), "bytes": len(layer)})
                at += len(layer)
        magic, version, roots, count, zero = self.header
        count = len(self.records) if count is None else count
        mappings = struct.pack("<8sIIQQ", magic, version, roots, count, zero)
        mappings += b"".join(struct.pack("<IIQQII", *record) for record in self.records)
        layers = [{"mediaType": r.MEMORY, **self.put(directory, m)} for m in self.memory]
        layers.append({"mediaType": r.MAPPINGS, **self.put(directory, mappings)})
        if self.symbols:
            layers.append({"mediaType": r.SYMBOLS, **self.put(directory, self.symbols)})
        text = self.config_bytes or json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2, "mediaType": r.MANIFEST, "artifactType": r.ARTIFACT,
            "layers": layers, "config": {"mediaType": r.CONFIG, **self.put(directory, text)},
        }
        for change in self.manifest.items():
            change[1](manifest)
        text = self.manifest_bytes or json.dumps(manifest).encode()
        entry = {"mediaType": r.MANIFEST, "artifactType": r.ARTIFACT, **self.put(directory, text)}
        entry.update(self.entry)
        if self.tag:
            entry["annotations"] = {r.TAG: self.tag}
        index = {**self.index, "manifests": self.extra + [entry]}
        files = {"index.json": json.dumps(index).encode(), "oci-layout": self.layout}
        for name, bytes_ in files.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(bytes_)
        return text


def blob(directory, descriptor):
    return os.path.join(directory, "blobs", "sha256", descriptor["digest"][7:])


# ---- what is refused: a word of the reader's message, and a change -------------------------------


def config(**fields):
    return lambda made: made.config.update(fields)


def inside(name, **fields):
    return lambda made: made.config[name].update(fields)


def record(number, **fields):
    names = ["kind", "root", "va", "target", "count", "flags"]

    def change(made):
        for name, value in fields.items():
            made.records[number][names.index(name)] = value

    return change


def manifest(change):
    return lambda made: made.manifest.update({len(made.manifest): change})


def attribute(**fields):
    return lambda made: made.__dict__.update(fields)


CONFINED = {
    "another version of OCI layouts": (
        "1.0.0", attribute(layout=b'{"imageLayoutVersion":"2.0.0"}')),
    "an index of another schema": ("schemaVersion", attribute(index={"schemaVersion": 1})),
    "two manifests of a tag": ("two manifests", lambda m: m.extra.append({
        "mediaType": r.MANIFEST, "artifactType": r.ARTIFACT, "digest": "sha256:" + 64 * "0",
        "size": 100, "annotations": {r.TAG: "latest"}})),
    "a tag that is not there": ("not found", attribute(tag="other")),
    "a size that is not the manifest's": ("bytes", attribute(entry={"size": 100000})),
    "a manifest that is no JSON": ("manifest", attribute(manifest_bytes=b"{")),
    "a name twice": ("twice", attribute(manifest_bytes=b'{"schemaVersion":2,"schemaVersion":2}')),
    "a manifest of another kind": (
        "artifactType", manifest(lambda m: m.update(artifactType="x/y"))),
    "a config of another media type": (
        "mediaType", manifest(lambda m: m["config"].update(mediaType="application/json"))),
    "a layer of another media type": (
        "mediaType", manifest(lambda m: m["layers"][0].update(mediaType="x/y"))),
    "mappings before memory": (
        "order", manifest(lambda m: m["layers"].insert(0, m["layers"].pop(2)))),
    "no mappings": ("order", manifest(lambda m: m["layers"].pop(2))),
    "too many layers": ("entries", manifest(lambda m: m["layers"].__iadd__(m["layers"] * 40))),
    "a digest of another algorithm": ("sha512", manifest(
        lambda m: m["config"].update(digest="sha512:" + 128 * "a"))),
    "a digest in upper case": ("digest", manifest(
        lambda m: m["config"].update(digest=m["config"]["digest"].upper().replace("SHA", "sha")))),
    "part of a page of memory": ("4096", attribute(memory=[bytes(4095)])),
    "a config that is not UTF-8": ("utf-8", attribute(config_bytes=b'{"version":"\xff"}')),
    "a newer version": ("needs a reader of revision 2", config(version=2, leastReader=2)),
    "version 0": ("version", config(version=0)),
    "a field that this version does not have": ("unknown", config(colour="red")),
    "a field that is missing": ("generation", lambda m: m.config.pop("generation")),
    "a number with a fraction": ("integer", config(generation=1.5)),
    "a flag as a number": ("true or false", config(largeLeaves=0)),
    "another family": ("family", config(family="V")),
    "a confined guest of 32 bits": ("bits", config(bits=32)),
    "a buffer that is too small": ("input", inside("sizes", input=4096)),
    "scratch that is no whole page": ("scratch", inside("sizes", scratch=5000)),
    "writable and executable init data": ("initDataAccess", config(initDataAccess="rwx")),
    "an address with a leading zero": ("address", config(zeroPage="0x04000")),
    "a page of zeroes outside the memory": ("zeroPage", config(zeroPage="0x6000")),
    "a writable and executable page": ("executable", lambda m: m.config["image"]["pages"][0].update(
        access=7)),
    "runs of the image that overlap": ("behind", lambda m: m.config["image"]["pages"][1].update(
        first=0)),
    "a level beyond those that exist": ("level", inside("image", level=5)),
    "a type of no value": ("int", inside("image", exports=[function("f", "int")])),
    "a parameter of no value": ("void", inside("image", exports=[function("f", "i32", "void")])),
    "a function without a name": ("name", inside("image", exports=[function("", "i32")])),
    "memory that does not follow": ("address", config(memory=[
        {"address": "0x1000", "bytes": 16384}, {"address": "0x6000", "bytes": 4096}])),
    "memory that overlaps": ("address", config(memory=[
        {"address": "0x1000", "bytes": 16384}, {"address": "0x4000", "bytes": 4096}])),
    "memory of another size": ("size", config(memory=[
        {"address": "0x1000", "bytes": 4096}, {"address": "0x2000", "bytes": 4096}])),
    "symbols that are only in the manifest": ("symbols", lambda m: m.config.pop("symbols")),
    "symbols of another size": ("symbols", inside("symbols", table=48)),
    "a start of a new one": ("start", config(state="new")),
    "a ready one without a start": ("start", lambda m: m.config.pop("start")),
    "an FS base that is not canonical": ("fsBase", inside("start", fsBase="0x800000000000")),
    "an entry that is not executable": (
        "execute", lambda m: (inside("start", dispatch="0x2000")(m),
                              inside("image", dispatch="0x2000")(m))),
    "another dispatch than the image's": ("image.dispatch", inside("start", dispatch="0x1030")),
    "a handler of SYSCALL that is data": ("syscall", inside("image", syscall="0x2000")),
    "a stack that ends elsewhere": ("stack", inside("start", stack="0x17ff0")),
    "a stack that is not aligned": ("16", inside("start", stack="0x17ff8")),
    "a confined guest without a note": ("note", inside("image", note=False)),
    "a confined guest with an executable heap": ("executableHeap", config(executableHeap=True)),
    "a confined guest without a page of zeroes": ("zeroPage", config(zeroPage="0x0")),
    "a page of zeroes that is not zero": ("zeroPage", config(zeroPage="0x2000")),
    "a page of the write set that is code": ("writeSet", inside("writeSet", pages=["0x1000"])),
    "a page of the write set twice": ("twice", inside("writeSet", pages=["0x2000", "0x2000"])),
    "a write set that is too large": ("entries", inside("writeSet", pages=["0x2000"] * 4097)),
    "two metadata of a name": (
        "twice", lambda m: m.config["metadata"].append(m.config["metadata"][0])),
    "metadata that are no JSON": ("JSON", config(metadata=[{"name": "a", "json": "{"}])),
    "another magic": ("magic", attribute(header=(b"MOTEMAPZ", 1, 1, None, 0))),
    "another version of the mappings": ("version", attribute(header=(b"MOTEMAPS", 2, 1, None, 0))),
    "two address spaces of a confined guest": (
        "spaces", attribute(header=(b"MOTEMAPS", 1, 2, None, 0))),
    "more records than bytes": ("bytes", attribute(header=(b"MOTEMAPS", 1, 1, 5, 0))),
    "a reserved field": ("reserved", attribute(header=(b"MOTEMAPS", 1, 1, None, 1))),
    "a record of another kind": ("kind 3", record(0, kind=3)),
    "a link in a confined guest": ("kind 2", record(3, kind=2)),
    "a record of a root that is not there": ("root 1", record(3, root=1)),
    "an address within a page": ("va", record(0, va=0x1001)),
    "no pages": ("count 0", record(0, count=0)),
    "an unknown flag": ("flags 14", record(0, flags=14)),
    "a target within a page": ("target", record(0, target=0x1800)),
    "a target behind the memory": ("target", record(0, target=0x6000)),
    "a target before the memory": ("target", lambda m: (record(0, target=0xF000)(m))),
    "code that can be written": ("flags 7", record(0, flags=7)),
    "data that can be executed": ("flags", record(1, flags=6)),
    "a run over two parts": ("one part", record(0, count=2)),
    "pages of the system": ("one part", record(3, va=0xFFFF808000000000)),
    "the guard of the stack": ("one part", record(3, va=0x5000)),
    "a stack that cannot be written": ("flags 4", record(3, flags=4)),
    "records out of order": ("behind", lambda m: m.records.reverse()),
    "a page twice": ("behind", lambda m: m.records.insert(0, list(m.records[0]))),
}
STOCK = {
    "no paging": ("cr0", lambda m: m.config["start"]["special"].update(cr0="0x50033")),
    "a reserved bit of CR4": (
        "cr4", lambda m: m.config["start"]["special"].update(cr4="0x80000620")),
    "five levels of tables": ("cr4", lambda m: m.config["start"]["special"].update(cr4="0x1620")),
    "another EFER": ("efer", lambda m: m.config["start"]["special"].update(efer="0x1d01")),
    "a code segment of data": ("cs", lambda m: m.config["start"]["special"]["cs"].update(type=3)),
    "a task register that is not busy": (
        "tr", lambda m: m.config["start"]["special"]["tr"].update(type=9)),
    "a base that is not canonical": (
        "gdtBase", lambda m: m.config["start"]["special"].update(gdtBase="0x800000000000")),
    "code for 32 bits": ("mode", lambda m: m.config["start"]["special"]["cs"].update(l=0, db=1)),
    "a limit that is no whole page": (
        "limit", lambda m: m.config["start"]["special"]["cs"].update(g=1, limit=1)),
    "code of another ring than the stack": (
        "dpl", lambda m: m.config["start"]["special"].update(
            ss=segment(type=3, present=1, s=1, dpl=3))),
    "a stack that cannot be written to": (
        "type", lambda m: m.config["start"]["special"].update(ss=segment(type=1, present=1, s=1))),
    "caching of another kind": (
        "cr0", lambda m: m.config["start"]["special"].update(cr0="0xa0050033")),
    "a selector of 17 bits": (
        "selector", lambda m: m.config["start"]["special"]["cs"].update(selector=65536)),
    "memory in the range of the self map": ("one part", record(1, va=0xFFFF800000000000)),
    "memory in scratch": ("one part", record(1, va=0xFFFFFFFFFFFFE000)),
    "a stock guest with a stack": ("stack", inside("sizes", stack=4096)),
    "a stock guest with large leaves": ("largeLeaves", config(largeLeaves=True)),
    "a stock guest with pages of the image": (
        "pages", inside("image", pages=[{"first": 0, "count": 1, "access": 5}])),
    "a stock guest with a write set": ("writeSet", inside("writeSet", pages=["0x1000"])),
    "a model-specific register that was not declared": (
        "may use", inside("start", msrs=[{"index": "0x1b", "value": "0x0"}])),
    "a model-specific register twice": (
        "twice", inside("start", msrs=[{"index": "0x10", "value": "0x0"}] * 2)),
    "zeroes without a page of zeroes": ("zeroes", record(0, target=0)),
    "an entry without execute": ("execute", record(0, flags=1)),
    "a link of the root's level": ("level 4", record(3, flags=4)),
    "a link within a table": ("aligned", record(3, va=0xFFFFFF0000001000)),
    "a link to an owner behind it": ("not before", record(3, count=1)),
    "a link to nothing": ("nothing there", record(3, target=0xFFFFFE8000000000)),
    "too many address spaces": ("spaces", attribute(header=(b"MOTEMAPS", 1, 257, None, 0))),
}


class Tap:
    number = failed = 0

    def result(self, is_good, name, why=""):
        self.number += 1
        self.failed += not is_good
        print(f"{'ok' if is_good else 'not ok'} {self.number} - {name}")
        if not is_good:
            print(f"# {why}")


tap = Tap()


def library(directory, reference="latest"):
    """What the library says of a store: None, or its message."""
    done = subprocess.run(
        [MOTE, "snapshot", "verify", f"{directory}:{reference}"], capture_output=True, timeout=60,
        text=True, errors="replace")
    if done.returncode < 0:
        raise AssertionError(f"signal {-done.returncode}")
    return done.stderr.strip() if done.returncode else None


def refusal(directory):
    try:
        list(r.read(directory, "latest"))
    except r.Refused as error:
        return str(error)
    return None


def check_refused(directory, name, word):
    said = refusal(directory)
    tap.result(said is not None and word.lower() in said.lower(), f"refuses {name}", said)
    if MOTE:
        said = library(directory)
        tap.result(said is not None, f"the library refuses {name}", "it was accepted")
        print(f"# {said}")


def test_made(work):
    for kind, make, changes in (("confined", Made, CONFINED), ("stock", Made.stock, STOCK)):
        directory = os.path.join(work, kind)
        make().write(directory)
        tap.result(refusal(directory) is None, f"reads a {kind} snapshot", refusal(directory))
        if MOTE:
            said = library(directory)
            tap.result(said is None, f"the library reads a {kind} snapshot made by hand", said)
        for number, (name, (word, change)) in enumerate(changes.items()):
            made = make()
            change(made)
            directory = os.path.join(work, f"{kind}{number}")
            made.write(directory)
            check_refused(directory, name, word)


def test_accepted(work):
    """What must not be refused."""
    changes = {
        "a newer version that this one may read": config(version=2, colour="red"),
        "fields of a manifest that are not ours": manifest(
            lambda m: m.update(annotations={"a": "b"})),
        "no artifactType": manifest(lambda m: m.pop("artifactType")),
        "no processor": lambda m: m.config.pop("processor"),
        "no symbols": lambda m: (m.config.pop("symbols"), attribute(symbols=None)(m)),
        "an entry of somebody else": lambda m: m.extra.append({
            "mediaType": "application/x", "digest": "sha256:" + 64 * "0", "size": 1}),
        "two equal layers": lambda m: m.memory.append(m.memory[-1]),
    }
    for number, (name, change) in enumerate(changes.items()):
        made = Made()
        change(made)
        directory = os.path.join(work, f"good{number}")
        made.write(directory)
        tap.result(refusal(directory) is None, f"accepts {name}", refusal(directory))
        if MOTE:
            said = library(directory)
            tap.result(said is None, f"the library accepts {name}", said)


def test_damage(work):
    """Files that are not what their names say."""

    def flip(path):
        with open(path, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))

    def to_link(path):
        os.rename(path, path + ".old")
        os.symlink(path + ".old", path)

    changes = {
        "a blob that is missing": os.unlink,
        "a blob that is too short": lambda path: os.truncate(path, os.path.getsize(path) - 1),
        "a blob that is too long": lambda path: os.truncate(path, os.path.getsize(path) + 1),
        "a blob with a bit flipped": flip,
        "a blob that is a symbolic link": to_link,
        "a blob that is a directory": lambda path: (os.unlink(path), os.mkdir(path)),
        "a blob that is a FIFO": lambda path: (os.unlink(path), os.mkfifo(path)),
    }
    for number, (name, change) in enumerate(changes.items()):
        for part in ("config", 0, 1, 2, 3):
            directory = os.path.join(work, f"damage{number}{part}")
            text = json.loads(Made().write(directory))
            change(blob(directory, text["config"] if part == "config" else text["layers"][part]))
            where = "the config" if part == "config" else f"layers[{part}]"
            check_refused(directory, f"{name}: {where}", "")


def test_golden():
    names = sorted(n for n in os.listdir(GOLDEN) if os.path.isdir(os.path.join(GOLDEN, n)))
    tap.result(bool(names), "there are golden stores", GOLDEN)
    for name in names:
        try:
            text = "\n".join(r.read(os.path.join(GOLDEN, name), "latest")) + "\n"
        except r.Refused as error:
            text = f"refused: {error}\n"
        path = os.path.join(GOLDEN, name + ".txt")
        if os.environ.get("UPDATE"):
            with open(path, "w") as file:
                file.write(text)
        with open(path) as file:
            expected = file.read()
        tap.result(text == expected, f"reads the golden store {name}", f"{text!r}")
        if MOTE:
            said = library(os.path.join(GOLDEN, name))
            tap.result(said is None, f"the library reads the golden store {name}", said)


def test_document():
    """The bytes that the document shows are those of the golden store."""
    with open(os.path.join(GOLDEN, "..", "..", "..", "docs", "snapshot-format.md")) as file:
        rows = re.findall(r"^    [0-9a-f]{8}((?: +[0-9a-f]{2})+)$", file.read(), re.MULTILINE)
    store = r.Store(os.path.join(GOLDEN, "confined"))
    text = store.read(store.find("latest"), 1, r.MIB, "manifest")
    mappings = store.read(r.Manifest(r.parse(text, "manifest")).mappings, 32, r.MIB, "mappings")
    shown = bytes.fromhex("".join(rows))
    tap.result(shown == mappings, "the document's example is a golden store's", shown.hex())


def main():
    work = tempfile.mkdtemp()
    try:
        test_made(work)
        test_accepted(work)
        test_damage(work)
        test_golden()
        test_document()
    finally:
        shutil.rmtree(work)
    print(f"1..{tap.number}")
    sys.exit(1 if tap.failed else 0)


if __name__ == "__main__":
    main()
