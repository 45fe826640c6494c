#!/usr/bin/env python3
# ruff: noqa: SIM115
"""Versions are symlinks to complete folders; labels are edited in the text of models.config."""

import getopt
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import uuid

HISTORY = ".stable-before-promote.json"


class Refused(Exception):
    pass


# --- versions ---------------------------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def looks_like_saved_model(data):
    """A SavedModel is field 1 (a varint, the schema), then field 2 (a message) once or more."""
    try:
        tag, at = varint(data, 0)
        if tag != 0x08:
            return False
        _, at = varint(data, at)
        graphs = 0
        while at < len(data):
            tag, at = varint(data, at)
            size, at = varint(data, at)
            if tag != 0x12 or at + size > len(data):
                return False
            at += size
            graphs += 1
        return graphs > 0
    except IndexError:
        return False


def publish(export, base):
    try:
        with open(os.path.join(export, "saved_model.pb"), "rb") as file:
            good = looks_like_saved_model(file.read())
    except OSError as error:
        raise Refused(f"no SavedModel in {export}: {error}") from error
    if not good:
        raise Refused(f"{export}/saved_model.pb is no SavedModel")
    hidden = ".store-" + uuid.uuid4().hex
    os.makedirs(base, exist_ok=True)
    shutil.copytree(export, os.path.join(base, hidden))
    while True:
        version = 1 + max([int(name) for name in os.listdir(base) if name.isdigit()], default=0)
        try:
            os.symlink(hidden, os.path.join(base, str(version)), target_is_directory=True)
        except FileExistsError:
            continue
        return {"version": version}


# --- labels -----------------------------------------------------------------------------------------------


def block_of(text, model):
    """Return where the block `config { name: 'model' … }` begins and ends."""
    for start in re.finditer(r"\bconfig\s*:?\s*{", text):
        depth, end = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if re.search(rf"""\bname\s*:\s*["']{re.escape(model)}["']""", text[start.start() : end]):
            return start.end(), end - 1
    raise Refused(f"models.config has no model {model}")


LABEL = r"""\s*\bversion_labels\s*:?\s*{\s*key\s*:\s*["'](\w+)["'][\s,]*value\s*:\s*(\d+)\s*},?"""


def read_labels(config, model):
    text = open(config).read()
    start, end = block_of(text, model)
    return {key: int(value) for key, value in re.findall(LABEL, text[start:end])}


def write_labels(config, model, labels):
    text = open(config).read()
    start, end = block_of(text, model)
    inner = re.sub(LABEL, "", text[start:end]).rstrip().rstrip(",")
    for key, value in labels.items():
        inner += f"\n        version_labels: {{ key: '{key}', value: {value} }}"
    scratch = config + ".new"
    with open(scratch, "w") as file:
        file.write(text[:start] + inner + "\n    " + text[end:])
    os.rename(scratch, config)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return {}
    except (OSError, ValueError) as error:
        raise Refused(f"{url}: {error}") from error


def move(url, config, model, label, version):
    status = get(f"{url}/v1/models/{model}/versions/{version}").get("model_version_status", [])
    if not any(entry["version"] == str(version) and entry["state"] == "AVAILABLE" for entry in status):
        raise Refused(f"version {version} of {model} is not AVAILABLE")
    labels = read_labels(config, model)
    labels[label] = version
    write_labels(config, model, labels)
    give_up = time.monotonic() + 30
    while True:
        answer = get(f"{url}/v1/models/{model}/labels/{label}/metadata")
        if answer.get("model_spec", {}).get("version") == str(version):
            return {"labels": labels}
        if time.monotonic() > give_up:
            raise Refused(f"the server does not answer for {label} with version {version}")
        time.sleep(0.05)


def history_file(config):
    return os.path.join(os.path.dirname(os.path.abspath(config)), HISTORY)


def promote(url, config, model):
    labels = read_labels(config, model)
    if "canary" not in labels:
        raise Refused("no canary")
    result = move(url, config, model, "stable", labels["canary"])
    if labels.get("stable") != labels["canary"]:
        with open(history_file(config), "w") as file:
            json.dump({model: labels.get("stable")}, file)
    return result


def rollback(url, config, model):
    try:
        before = json.load(open(history_file(config)))[model]
    except (OSError, KeyError):
        before = None
    if before is None:
        raise Refused("nothing to roll back to")
    result = move(url, config, model, "stable", before)
    os.remove(history_file(config))
    return result


def main(argv):
    command, *rest = argv
    options, rest = getopt.gnu_getopt(rest, "", ["config=", "url="])
    options = dict(options)
    url = options.get("--url", "http://localhost:8501").rstrip("/")
    config = options.get("--config", "models.config")
    try:
        if command == "publish":
            result = publish(*rest)
        elif command == "canary":
            result = move(url, config, rest[0], "canary", int(rest[1]))
        elif command == "promote":
            result = promote(url, config, rest[0])
        elif command == "rollback":
            result = rollback(url, config, rest[0])
        else:
            sys.exit(f"unknown command {command}")
    except Refused as error:
        print(json.dumps({"error": "Refused", "message": str(error)}))
        sys.exit(1)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
