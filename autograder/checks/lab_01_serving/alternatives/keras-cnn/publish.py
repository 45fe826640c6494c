"""Publishing by a staging folder and one rename; labels through the parsed config file."""

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import httpx
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

# the version that `stable` had before is kept as a comment on top of the config file
MEMORY = re.compile(r"^# before the last promote, stable of (\S+) was (\d+)$", re.MULTILINE)


class Refusal(Exception):
    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def saved_model_class():
    """A stand-in for tensorflow.SavedModel that leaves the graphs unparsed."""
    file = descriptor_pb2.FileDescriptorProto(name="outline.proto", package="lab")
    outline = file.message_type.add(name="SavedModelOutline")
    outline.field.add(name="schema", number=1, type=3, label=1)
    outline.field.add(name="graphs", number=2, type=12, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("lab.SavedModelOutline"))


def check_export(export):
    pb = export / "saved_model.pb"
    if not pb.is_file():
        raise Refusal("NoSavedModel", f"{pb} does not exist")
    outline = saved_model_class()()
    try:
        outline.ParseFromString(pb.read_bytes())
    except message.DecodeError as exc:
        raise Refusal("NoSavedModel", f"{pb}: {exc}") from exc
    if not outline.graphs or not all(outline.graphs):
        raise Refusal("NoSavedModel", f"{pb} has no graph inside")


def cmd_publish(ns):
    check_export(ns.export)
    ns.base.mkdir(parents=True, exist_ok=True)
    staging = ns.base / f"_staging_{os.getpid()}"
    shutil.copytree(ns.export, staging)
    numbers = [int(p.name) for p in ns.base.iterdir() if re.fullmatch(r"[0-9]+", p.name)]
    number = max(numbers, default=0) + 1
    staging.replace(ns.base / str(number))
    return {"version": number}


class Config:
    def __init__(self, path, name):
        self.path, self.name = path, name
        self.text = path.read_text()
        self.memory = {model: int(version) for model, version in MEMORY.findall(self.text)}
        self.message = text_format.Parse(self.text, model_server_config_pb2.ModelServerConfig())
        for candidate in self.message.model_config_list.config:
            if candidate.name == name:
                self.labels = candidate.version_labels
                return
        raise Refusal("UnknownModel", f"no {name} in {path}")

    def save(self):
        lines = [f"# before the last promote, stable of {m} was {v}\n" for m, v in self.memory.items()]
        beside = self.path.parent / f"{self.path.name}.{os.getpid()}.tmp"
        beside.write_text("".join(lines) + text_format.MessageToString(self.message))
        beside.replace(self.path)

    def undo(self):
        beside = self.path.parent / f"{self.path.name}.{os.getpid()}.tmp"
        beside.write_text(self.text)
        beside.replace(self.path)


def server_get(ns, path):
    try:
        answer = httpx.get(f"{ns.url}/v1/models/{ns.model}{path}", timeout=10, trust_env=False)
    except httpx.HTTPError as exc:
        raise Refusal("ServerUnreachable", f"{ns.url}: {exc}") from exc
    return answer.json() if answer.status_code == 200 else None


def require_available(ns, version):
    status = server_get(ns, f"/versions/{version}")
    states = [s["state"] for s in status["model_version_status"]] if status else []
    if states != ["AVAILABLE"]:
        raise Refusal("VersionNotAvailable", f"version {version} of {ns.model} is {states or 'unknown'}")


def settle(ns, config, label):
    """Wait until the server answers for the label as the file says."""
    wanted = str(config.labels[label])
    for _ in range(300):
        answer = server_get(ns, f"/labels/{label}/metadata")
        if answer and answer["model_spec"]["version"] == wanted:
            return {"labels": dict(config.labels)}
        time.sleep(0.1)
    config.undo()
    raise Refusal("NotTaken", f"the server keeps its old {label}")


def cmd_canary(ns):
    config = Config(ns.config, ns.model)
    require_available(ns, ns.version)
    config.labels["canary"] = ns.version
    config.save()
    return settle(ns, config, "canary")


def cmd_promote(ns):
    config = Config(ns.config, ns.model)
    if "canary" not in config.labels:
        raise Refusal("NoCanary", "set a canary first")
    target = config.labels["canary"]
    require_available(ns, target)
    if "stable" in config.labels and config.labels["stable"] != target:
        config.memory[ns.model] = config.labels["stable"]
    config.labels["stable"] = target
    config.save()
    return settle(ns, config, "stable")


def cmd_rollback(ns):
    config = Config(ns.config, ns.model)
    if ns.model not in config.memory:
        raise Refusal("NothingToRollBack", "no promote is remembered")
    target = config.memory.pop(ns.model)
    require_available(ns, target)
    config.labels["stable"] = target
    config.save()
    return settle(ns, config, "stable")


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("model")
    common.add_argument("--config", type=Path, default="models.config")
    common.add_argument("--url", default="http://localhost:8501")

    ap = argparse.ArgumentParser()
    sub = ap.add_subparsers(required=True)
    one = sub.add_parser("publish")
    one.add_argument("export", type=Path)
    one.add_argument("base", type=Path)
    one.set_defaults(func=cmd_publish)
    for name, func in {"canary": cmd_canary, "promote": cmd_promote, "rollback": cmd_rollback}.items():
        one = sub.add_parser(name, parents=[common])
        one.set_defaults(func=func)
        if name == "canary":
            one.add_argument("version", type=int)
    ns = ap.parse_args()
    try:
        print(json.dumps(ns.func(ns)))
    except Refusal as exc:
        print(json.dumps({"error": exc.kind, "message": str(exc)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
