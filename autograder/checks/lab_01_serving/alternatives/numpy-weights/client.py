"""A client on aiohttp, whose total timeout covers everything from the connection to the last byte."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
import click
from yarl import URL


class ServingError(Exception):
    """Whatever goes wrong."""


class InvalidRequest(ServingError):
    """400"""


class ModelNotFound(ServingError):
    """404"""


class ServerUnreachable(ServingError):
    """No connection"""


class DeadlineExceeded(ServingError):
    """Too slow"""


class MalformedAnswer(ServingError):
    """Not what was promised"""


@asynccontextmanager
async def translated(url):
    """Turn aiohttp's exceptions into ours."""
    try:
        yield
    except TimeoutError as e:
        raise DeadlineExceeded(f"{url} took too long") from e
    except aiohttp.ClientPayloadError as e:
        raise MalformedAnswer(f"{url} ended too early") from e
    except aiohttp.ClientConnectionError as e:
        raise ServerUnreachable(f"{url}: {e}") from e
    except aiohttp.ClientError as e:
        raise ServingError(f"{url}: {e}") from e


async def ask(url, timeout, body=None):
    limits = aiohttp.ClientTimeout(total=timeout)
    async with translated(url), aiohttp.ClientSession(timeout=limits) as session:
        verb = "GET" if body is None else "POST"
        async with session.request(verb, url, json=body) as reply:
            status, raw = reply.status, await reply.read()
    match status:
        case HTTPStatus.OK:
            pass
        case HTTPStatus.BAD_REQUEST:
            raise InvalidRequest(raw.decode("utf-8", "replace"))
        case HTTPStatus.NOT_FOUND:
            raise ModelNotFound(raw.decode("utf-8", "replace"))
        case _:
            raise ServingError(f"status {status}")
    try:
        return dict(json.loads(raw).items())
    except (ValueError, AttributeError, RecursionError) as e:
        raise MalformedAnswer(f"{raw[:60]!r} is no JSON object") from e


def shape_of(info):
    if info["tensor_shape"].get("unknown_rank"):
        return None
    return [int(axis["size"]) for axis in info["tensor_shape"]["dim"]]


def table(infos):
    return {name: dict(dtype=info["dtype"], shape=shape_of(info)) for name, info in infos.items()}  # noqa: C408


async def describe(root, timeout, model):
    reply = await ask(root / model / "metadata", timeout)
    try:
        default = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
        return {
            "signature": "serving_default",
            "inputs": table(default["inputs"]),
            "outputs": table(default["outputs"]),
        }
    except Exception as e:
        raise MalformedAnswer(f"strange metadata: {e!r}") from e


async def predict(root, timeout, model, instances, column, version, label):
    place = root / model
    if version is not None:
        place = place / "versions" / str(version)
    elif label is not None:
        place = place / "labels" / label
    place = place.with_name(place.name + ":predict")
    reply = await ask(place, timeout, {"inputs" if column else "instances": instances})
    try:
        return {"predictions": reply["outputs" if column else "predictions"]}
    except KeyError as e:
        raise MalformedAnswer(f"the answer has no {e}") from e


def finish(coroutine):
    try:
        click.echo(json.dumps(asyncio.run(coroutine)))
    except ServingError as e:
        click.echo(json.dumps({"message": str(e), "error": e.__class__.__qualname__}))
        raise SystemExit(1) from None


@click.group()
@click.option("--url", default="http://localhost:8501")
@click.option("--timeout", type=float, default=15.0)
@click.pass_context
def cli(context, url, timeout):
    context.obj = (URL(url) / "v1" / "models", timeout)


@cli.command("describe")
@click.argument("model")
@click.pass_obj
def describe_command(obj, model):
    finish(describe(*obj, model))


@cli.command("predict")
@click.argument("model")
@click.option("--format", "layout", type=click.Choice(["row", "column"]), default="row")
@click.option("--version", type=int)
@click.option("--label")
@click.pass_obj
def predict_command(obj, model, layout, version, label):
    instances = json.load(sys.stdin)
    finish(predict(*obj, model, instances, layout == "column", version, label))


if __name__ == "__main__":
    cli()
