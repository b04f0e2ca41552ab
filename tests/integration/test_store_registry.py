#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Snapshots in a registry, as TAP. usage: test_store_registry.py MOTE GUEST

A registry is started on a free port of 127.0.0.1, with its files in a temporary directory, so that what
a push brought can be seen there, byte for byte. MOTE is the command, GUEST the test guest "hello", whose
function count_up tells how often it was called."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

MEMORY = "application/vnd.mote.snapshot.memory.v1"
number = 0
failed = 0


def result(name, good, why="", skip=""):
    global number, failed
    number += 1
    failed += not good
    for line in str(why).splitlines() if not good else []:
        print("#", line)
    print("ok" if good else "not ok", number, "-", name + (" # SKIP " + skip if skip else ""), flush=True)


def skip_all(why):
    print("1..0 # SKIP " + why)
    sys.exit(0)


class Failed(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failed(what)


def run(*command, status=0):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    require(done.returncode == status,
            f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


# ---- the registry ------------------------------------------------------------------------------------


class Registry:
    def __init__(self, work):
        self.root = work / "registry"
        self.root.mkdir()
        config = work / "registry.yml"
        config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.root}}}}}\n"
                          "http: {addr: '127.0.0.1:0'}\nlog: {accesslog: {disabled: true}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", str(config)], text=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.host = None
        limit = threading.Timer(30, self.process.kill)
        limit.start()
        for line in self.process.stderr:
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", line)
            if found:
                self.host = found.group(1)
                break
        limit.cancel()
        # What it says later is not waited for.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def place(self, tag):
        return f"docker://{self.host}/guests/hello:{tag}"

    def file(self, digest):
        return self.root / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"

    def blobs(self):
        """Digest and size of every blob that it has."""
        return {"sha256:" + path.parent.name: path.stat().st_size for path in self.root.rglob("data")}

    def end(self):
        self.process.terminate()
        self.process.wait(30)


# ---- stores ------------------------------------------------------------------------------------------


def blob(store, digest):
    return (store / "blobs/sha256" / digest[7:]).read_bytes()


def manifest_of(store, tag):
    for entry in json.loads((store / "index.json").read_text())["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag:
            return entry["digest"], json.loads(blob(store, entry["digest"]))
    raise Failed(f"{store} has no {tag}")


def parts_of(store, tag):
    """Digest and size of all that a snapshot consists of."""
    digest, manifest = manifest_of(store, tag)
    parts = {part["digest"]: part["size"] for part in [manifest["config"]] + manifest["layers"]}
    parts[digest] = len(blob(store, digest))
    return parts


def layers_of(store, tag):
    return [layer["digest"] for layer in manifest_of(store, tag)[1]["layers"] if layer["mediaType"] == MEMORY]


class World:
    def __init__(self, mote, guest, work):
        self.mote, self.guest, self.work = mote, guest, work
        self.store = work / "store"
        self.registry = Registry(work)
        self.has_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)

    def save(self):
        """A guest that was called once, and its child, which was called once more. Without KVM: an
        image, and another one that shares nothing."""
        if self.has_kvm:
            run(self.mote, "snapshot", "save", self.guest, f"{self.store}:base", "--call", "count_up()")
            run(self.mote, "snapshot", "save", f"{self.store}:base", f"{self.store}:child", "--call",
                "count_up()")
        else:
            run(self.mote, "snapshot", "save", "--new", self.guest, f"{self.store}:base")
            run(self.mote, "snapshot", "save", "--new", self.guest, f"{self.store}:child", "--metadata",
                "a=1")

    def push(self, tag):
        before = self.registry.blobs()
        run(self.mote, "snapshot", "push", f"{self.store}:{tag}", self.registry.place(tag),
            "--tls-verify=false")
        after = self.registry.blobs()
        return {digest: size for digest, size in after.items() if digest not in before}

    def pull(self, what, store, status=0):
        return run(self.mote, "snapshot", "pull", self.registry.place(what), store, "--tls-verify=false",
                   status=status)


# ---- tests -------------------------------------------------------------------------------------------


def a_first_push_brings_all_of_it(w):
    new = w.push("base")
    require(new == parts_of(w.store, "base"), f"{new}\nis not {parts_of(w.store, 'base')}")
    for digest in new:
        require(w.registry.file(digest).read_bytes() == blob(w.store, digest), f"{digest} is another")


def a_second_push_brings_the_top_layer_alone(w):
    if not w.has_kvm:
        return "no usable /dev/kvm"
    base, child = layers_of(w.store, "base"), layers_of(w.store, "child")
    require(child[:-1] == base, f"{child} is not one layer more than {base}")
    new = w.push("child")
    digest, manifest = manifest_of(w.store, "child")
    mappings = next(layer["digest"] for layer in manifest["layers"] if ".mappings." in layer["mediaType"])
    require(set(new) == {digest, manifest["config"]["digest"], mappings, child[-1]}, f"{new} travelled")
    whole = sum(parts_of(w.store, "child").values())
    require(sum(new.values()) < whole / 2, f"{sum(new.values())} of {whole} bytes travelled")
    # Once more brings nothing.
    require(not w.push("child"), "a second time something travelled")


def a_pull_brings_the_same_bytes(w):
    tag = "child" if w.has_kvm else "base"
    pulled = w.work / "pulled"
    w.pull(tag, f"{pulled}:{tag}")
    require(parts_of(pulled, tag) == parts_of(w.store, tag), "another manifest")
    for digest in parts_of(pulled, tag):
        content = blob(pulled, digest)
        require(content == blob(w.store, digest), f"{digest} is another")
        require("sha256:" + hashlib.sha256(content).hexdigest() == digest, f"{digest} is damaged")
    run(w.mote, "snapshot", "verify", pulled)
    run(w.mote, "snapshot", "verify", f"{pulled}:{tag}")


def what_was_pulled_runs(w):
    if not w.has_kvm:
        return "no usable /dev/kvm"
    shutil.move(w.store, w.work / "elsewhere")  # nothing of it is needed
    try:
        said = run(w.mote, "call", "--from", f"{w.work / 'pulled'}:child", "count_up")
        require(said.split() == ["3"], said)
        said = run(w.mote, "call", "--trust-memory-without-verifying", "--from",
                   f"{w.work / 'pulled'}:child", "count_up")
        require(said.split() == ["3"], said)
    finally:
        shutil.move(w.work / "elsewhere", w.store)


def a_pull_by_digest_needs_no_tag(w):
    digest, _ = manifest_of(w.store, "base")
    other = w.work / "by-digest"
    run(w.mote, "snapshot", "pull", f"docker://{w.registry.host}/guests/hello@{digest}", f"{other}:mine",
        "--tls-verify=false")
    require(manifest_of(other, "mine")[0] == digest, "another manifest")
    run(w.mote, "snapshot", "verify", f"{other}:mine")


def another_tools_copies_load(w):
    """skopeo alone, there and back: nothing of the command's is needed on the way."""
    other = w.work / "copied"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{w.store}:base",
        w.registry.place("copied"))
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", w.registry.place("copied"), f"oci:{other}:base")
    require(manifest_of(other, "base")[0] == manifest_of(w.store, "base")[0], "another manifest")
    run(w.mote, "snapshot", "verify", f"{other}:base")
    if w.has_kvm:
        said = run(w.mote, "call", "--from", f"{other}:base", "count_up")
        require(said.split() == ["2"], said)


def what_a_registry_damaged_is_refused(w):
    digest = layers_of(w.store, "base")[0]
    file = w.registry.file(digest)
    content = file.read_bytes()
    other = w.work / "damaged"
    spoiled = bytearray(content)
    spoiled[len(spoiled) // 2] ^= 1
    file.write_bytes(spoiled)
    try:
        done = subprocess.run([w.mote, "snapshot", "pull", w.registry.place("base"), f"{other}:base",
                               "--tls-verify=false"], capture_output=True, text=True, timeout=120)
        require(done.returncode not in (0, 2) and done.returncode < 100, f"exit status {done.returncode}")
        try:
            manifest_of(other, "base")
        except (Failed, FileNotFoundError):
            pass
        else:
            raise Failed("it has its tag all the same")
    finally:
        file.write_bytes(content)
    w.pull("base", f"{other}:base")
    run(w.mote, "snapshot", "verify", f"{other}:base")


def what_is_there_does_not_travel_again(w):
    other = w.work / "again"
    w.pull("base", f"{other}:base")
    said = w.pull("base", f"{other}:second")
    require("0 B in 0 blobs" in said, said)
    require(manifest_of(other, "second")[0] == manifest_of(other, "base")[0], "another manifest")


def a_pull_into_a_damaged_store_is_refused(w):
    """The registry's client takes a blob that is there by its name."""
    other = w.work / "cut"
    w.pull("base", f"{other}:base")
    digest = layers_of(other, "base")[0]
    file = other / "blobs/sha256" / digest[7:]
    file.chmod(0o644)
    with open(file, "r+b") as layer:
        layer.truncate(4096)
    said = w.pull("base", f"{other}:base", status=3)
    require(digest in said and "4096 bytes" in said, said)
    file.unlink()
    w.pull("base", f"{other}:base")
    run(w.mote, "snapshot", "verify", other)


def a_registry_without_tls_is_told(w):
    done = subprocess.run([w.mote, "snapshot", "pull", w.registry.place("base"), str(w.work / "plain")],
                          capture_output=True, text=True, timeout=120)
    require(done.returncode == 7 and "--tls-verify=false" in done.stderr, done.stderr)


TESTS = [a_first_push_brings_all_of_it, a_second_push_brings_the_top_layer_alone,
         a_pull_brings_the_same_bytes, what_was_pulled_runs, a_pull_by_digest_needs_no_tag,
         another_tools_copies_load, what_a_registry_damaged_is_refused,
         what_is_there_does_not_travel_again, a_pull_into_a_damaged_store_is_refused,
         a_registry_without_tls_is_told]


def main():
    if len(sys.argv) < 3:
        skip_all("no guests are built")
    for tool in ("docker-registry", "skopeo"):
        if not shutil.which(tool):
            skip_all(f"{tool} is not installed")
    os.environ["NO_COLOR"] = "1"
    with tempfile.TemporaryDirectory() as directory:
        # Nothing of the user's is read or written.
        os.environ["HOME"] = directory
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ.pop("XDG_RUNTIME_DIR", None)
        world = World(os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]), Path(directory))
        try:
            if not world.registry.host:
                skip_all("the registry does not start")
            world.save()
            for test in TESTS:
                name = "store_registry__" + test.__name__
                try:
                    result(name, True, skip=test(world) or "")
                except (Failed, subprocess.TimeoutExpired, OSError, KeyError) as error:
                    result(name, False, error)
        finally:
            world.registry.end()
    print(f"1..{number}")
    sys.exit(failed > 0)


main()
