"""One aiohttp session; its own total timeout is the deadline of each attempt, and a clock that of all."""

import asyncio
import random
import time

import aiohttp

from app import config

MODEL = f"{config.URL}/v1/models/{config.NAME}"


class Trouble(Exception):
    status, again = 502, False


class Late(Trouble):
    status = 504


class Away(Trouble):
    status, again = 503, True


class Model:
    async def __aenter__(self):
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30))
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def talk(self, end, method, url, **options):
        left = aiohttp.ClientTimeout(total=max(0.001, end - time.monotonic()))
        try:
            async with self.session.request(method, url, timeout=left, **options) as answer:
                if answer.status == 503:
                    raise Away("the model server says 503")
                return answer.status, await answer.json(content_type=None)
        except TimeoutError:
            raise Late("no answer in time") from None
        except ValueError:
            raise Trouble("an answer that is no JSON") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Away(f"no connection: {type(error).__name__}") from None

    async def version(self, end):
        _, told = await self.talk(end, "GET", MODEL)
        ready = [s["version"] for s in told.get("model_version_status", ()) if s["state"] == "AVAILABLE"]
        if not ready:
            raise Away("no version is ready")
        return max(map(int, ready))

    async def is_ready(self):
        try:
            return bool(await self.version(time.monotonic() + config.TIMEOUT))
        except Trouble:
            return False

    async def attempt(self, images, end):
        # A version can go between the two questions, which is nobody's fault: then both are asked again.
        for _ in range(5):
            version = await self.version(end)
            body = {"signature_name": "serving_default", "instances": [{"pixels": image} for image in images]}
            status, told = await self.talk(end, "POST", f"{MODEL}/versions/{version}:predict", json=body)
            if status != 404:
                break
        rows = told.get("predictions") if isinstance(told, dict) else None
        if status != 200 or not isinstance(rows, list) or len(rows) != len(images):
            raise Trouble(f"the model server answered {status}, and no predictions")
        return rows, version

    async def predict(self, images):
        end = time.monotonic() + config.TIMEOUT
        for number in range(3):
            try:
                return await self.attempt(images, end)
            except Trouble as trouble:
                wait = random.random() * config.BACKOFF * (1 + number)
                if not trouble.again or number == 2 or time.monotonic() + wait >= end:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError
