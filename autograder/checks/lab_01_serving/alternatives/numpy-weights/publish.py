"""Publish and label, with a small data class for the state and click for the command line."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import click
from google.protobuf import empty_pb2, json_format, message, text_format
from google.protobuf.unknown_fields import UnknownFieldSet
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

SHARDS = "variables/variables.data-*"
OPENER = build_opener(ProxyHandler({}))


class No(click.ClickException):
    """A refusal, printed as JSON."""

    def show(self, file=None):
        click.echo(json.dumps({"error": "Refused", "message": self.message}))


@dataclass
class Service:
    """A model's labels in the config file, and the server that reads it."""

    model: str
    config: pathlib.Path
    url: str

    def load(self):
        everything = json_format.MessageToDict(text_format.Parse(self.config.read_bytes(), ModelServerConfig()))
        for entry in everything["modelConfigList"]["config"]:
            if entry["name"] == self.model:
                return everything, entry
        raise No(f"there is no {self.model} in {self.config}")

    def labels(self):
        return {key: int(value) for key, value in self.load()[1].get("versionLabels", {}).items()}

    def store(self, labels):
        everything, entry = self.load()
        entry["versionLabels"] = labels
        text = text_format.MessageToString(json_format.ParseDict(everything, ModelServerConfig()))
        with tempfile.TemporaryDirectory(dir=self.config.parent, prefix=".config") as folder:
            new = pathlib.Path(folder, "new")
            new.write_text(text)
            new.rename(self.config)

    def ask(self, path):
        try:
            with OPENER.open(f"{self.url}/v1/models/{self.model}{path}", timeout=5) as reply:
                return json.load(reply)
        except HTTPError:
            return None
        except (URLError, OSError) as e:
            raise No(f"the server at {self.url} does not answer: {e}") from e

    def is_available(self, version):
        reply = self.ask("") or {"model_version_status": []}
        return (str(version), "AVAILABLE") in {(row["version"], row["state"]) for row in reply["model_version_status"]}

    def point(self, label, version):
        if not self.is_available(version):
            raise No(f"{self.model} {version} is not AVAILABLE")
        old = self.labels()
        self.store(old | {label: version})
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            reply = self.ask(f"/labels/{label}/metadata")
            if reply and int(reply["model_spec"]["version"]) == version:
                return {"labels": self.labels()}
            time.sleep(0.2)
        self.store(old)
        raise No(f"{label} did not move to {version}")

    @property
    def memory(self):
        return self.config.parent / f".{self.model}.promotions"


def acceptable(export):
    try:
        outer = empty_pb2.Empty.FromString((export / "saved_model.pb").read_bytes())
    except (OSError, message.DecodeError):
        return False
    if not any(field.field_number == 2 for field in UnknownFieldSet(outer)):
        return False
    has_index = (export / "variables/variables.index").exists()
    return has_index == any(export.glob(SHARDS))  # both or neither


@click.group()
def cli():
    pass


@cli.command()
@click.argument("export", type=click.Path(path_type=pathlib.Path))
@click.argument("base", type=click.Path(path_type=pathlib.Path))
def publish(export, base):
    if not acceptable(export):
        raise No(f"{export} is no complete SavedModel")
    base.mkdir(parents=True, exist_ok=True)
    incoming = base / f"incoming.{time.time_ns()}"
    subprocess.run(["cp", "-R", "--", str(export), str(incoming)], check=True)
    taken = {int(p.name) for p in base.iterdir() if p.name.isdigit()} | {0}
    version = max(taken) + 1
    shutil.move(incoming, base / str(version))  # within one folder: a rename
    click.echo(json.dumps({"version": version}))


def labelled(command):
    command = click.option("--url", default="http://localhost:8501")(command)
    return click.option("--config", default="models.config", type=click.Path(exists=True, path_type=pathlib.Path))(
        command
    )


@cli.command()
@click.argument("model")
@click.argument("version", type=int)
@labelled
def canary(model, version, config, url):
    click.echo(json.dumps(Service(model, config, url).point("canary", version)))


@cli.command()
@click.argument("model")
@labelled
def promote(model, config, url):
    service = Service(model, config, url)
    labels = service.labels()
    if "canary" not in labels:
        raise No("no canary yet")
    result = service.point("stable", labels["canary"])
    if labels.get("stable", labels["canary"]) != labels["canary"]:
        with service.memory.open("a") as log:
            print(labels["stable"], file=log)
    click.echo(json.dumps(result))


@cli.command()
@click.argument("model")
@labelled
def rollback(model, config, url):
    service = Service(model, config, url)
    past = service.memory.read_text().split() if service.memory.exists() else []
    if not past:
        raise No("nothing was promoted yet")
    result = service.point("stable", int(past[-1]))
    service.memory.write_text("".join(f"{version}\n" for version in past[:-1]))
    click.echo(json.dumps(result))


if __name__ == "__main__":
    cli()
