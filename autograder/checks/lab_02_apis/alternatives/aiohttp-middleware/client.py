import argparse
import asyncio
import json
import os
import random
import sys

import aiohttp


class ApiError(Exception):
    pass


class Timeout(ApiError):
    pass


class Unavailable(ApiError):
    pass


class Refused(ApiError):
    pass


async def predict(url, images):
    headers = {"X-API-Key": os.environ["API_KEY"]}
    async with aiohttp.ClientSession(headers=headers) as session:
        for attempt in range(3):
            try:
                async with session.post(url + "/predict", json={"images": images}) as answer:
                    if answer.status == 200:
                        return await answer.json()
                    said, wait = await answer.text(), float(answer.headers.get("Retry-After", 1))
                    if answer.status != 503:
                        raise Refused(f"{answer.status} {said[:200]}")
            except aiohttp.ClientConnectorError as error:
                said, wait = str(error), 0.1
            except aiohttp.ClientError as error:
                raise ApiError(repr(error)) from error
            if attempt < 2:
                await asyncio.sleep(wait + random.random() / 5)
    raise Unavailable(said)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("command", choices=["predict"])
    options = parser.parse_args()
    try:
        try:
            found = await asyncio.wait_for(predict(options.url, json.loads(sys.stdin.read())), options.timeout)
        except TimeoutError:
            raise Timeout("too late") from None
    except ApiError as error:
        print(json.dumps({"error": error.__class__.__name__, "message": str(error)}))
        return 1
    json.dump(found, sys.stdout)
    return 0


sys.exit(asyncio.run(main()))
