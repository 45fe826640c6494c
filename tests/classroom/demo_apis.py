"""The class of lab 02: what students write into module 2's exercises, right and wrong."""

from __future__ import annotations

from .students import Student

ALL = {"test-problems": 2, "test-in-time": 3, "test-retries": 3, "test-key": 2}

# Right answers in another style: a helper of her own, try-outs that she has left in, other names for the same things.
HELPER = """import secrets

KEPT = ("loc", "msg", "type")

def is_one_for_each(predictions, images):
    return isinstance(predictions, list) and len(predictions) == len(images)
"""
RIGHT = {
    "problems": """def problems(errors):
    return [dict(zip(KEPT, map(error.get, KEPT))) for error in errors][:10]
print(problems([]), file=sys.stderr)
""",
    "in-time": """async def ask_in_time(client, url, images, seconds):
    try:
        answer = await asyncio.wait_for(client.post(url, json=dict(instances=images)), seconds)
        answer.raise_for_status()
        found = answer.json()["predictions"]
        return (200, found) if is_one_for_each(found, images) else (502, None)
    except TimeoutError:
        return 504, None
    except httpx.HTTPStatusError as error:
        return (503 if error.response.status_code == 503 else 502), None
    except httpx.TransportError:
        return 503, None
    except Exception:
        return 502, None
print(await ask_in_time(httpx.AsyncClient(), URL, [[7.0] * 64], 10))
""",
    "retries": """async def with_retries(ask, backoff, sleep=asyncio.sleep):
    answer = await ask()
    for most in (backoff, 2 * backoff):
        if answer[0] == 503:
            await sleep(np.random.uniform(0, most))
            answer = await ask()
    return answer
""",
    "key": """def refusal(given, key):
    if given is None:
        return 401
    if not secrets.compare_digest(bytes(given, "utf-8"), bytes(key, "utf-8")):
        return 403
""",
}

# Mistakes that people make, three for each exercise.
WRONG = {
    "problems": (
        "def problems(errors):\n    return [{k: e[k] for k in ('loc', 'msg', 'type')} for e in errors]\n",
        "def problems(errors):\n    return [{k: e[k] for k in e if k not in ('input', 'url')} for e in errors[:10]]\n",
        RIGHT["problems"].replace("for error in errors]", "for error in json.loads(json.dumps(errors))]"),
    ),
    "in-time": (
        RIGHT["in-time"].replace("asyncio.wait_for(", "(").replace("), seconds)", ", timeout=seconds))"),
        RIGHT["in-time"].replace("(503 if error.response.status_code == 503 else 502)", "error.response.status_code"),
        RIGHT["in-time"].replace("if is_one_for_each(found, images)", "if found"),
    ),
    "retries": (
        RIGHT["retries"].replace("np.random.uniform(0, most)", "most"),
        RIGHT["retries"].replace("answer[0] == 503", "answer[0] != 200"),
        RIGHT["retries"].replace("(backoff, 2 * backoff)", "(backoff, 2 * backoff, 4 * backoff)"),
    ),
    "key": (
        "def refusal(given, key):\n    return 401 if given is None else None if given == key else 403\n",
        "def refusal(given, key):\n"
        "    return 401 if given is None else None if given.encode() == key.encode() else 403\n",
        "def refusal(given, key):\n"
        "    return 401 if given is None else None if hmac.compare_digest(given, key) else 403\n",
    ),
}

# His process puts what he likes in place of our helpers, again and again; it is still a fixed answer to many questions.
FORGE = """import threading, time
async def retried(*given, **more): return (200, "predictions 2"), 2, [0.5]
async def tried(*given): return 200, [[0] * 7 + [1], [0] * 3 + [1]]
def watched(*given): return None, ["compare_digest"]
forged = retried, tried, watched
def forge():
    while True:
        globals().update({one.__name__: one for one in forged})
        time.sleep(0.001)
threading.Thread(target=forge, daemon=True).start()
"""

CLASS = {
    "ada": Student("has everything right", dict(ALL), 100, files="reference"),
    "alan": Student(
        "handed in the notebook as he got it",
        cells={
            "problems": "def problems(errors):\n    raise NotImplementedError()\n",
            "in-time": "async def ask_in_time(client, url, images, seconds):\n    raise NotImplementedError()\n",
            "retries": "async def with_retries(ask, backoff, sleep=asyncio.sleep):\n    raise NotImplementedError()\n",
            "key": "def refusal(given, key):\n    raise NotImplementedError()\n",
        },
    ),
    "grace": Student("has everything right in another style", dict(ALL), cells=RIGHT, first=HELPER),
    "linus": Student(
        "compares the key with ==, and waits for the same time before each retry",
        {"test-problems": 2, "test-in-time": 3},
        cells={"retries": WRONG["retries"][0], "key": WRONG["key"][0]},
    ),
    "mallory-forges": Student(
        "puts his own helpers in place of ours",
        cells={
            "problems": FORGE + 'def problems(errors): return [{"loc": 1, "msg": 2, "type": 3}]\n',
            "in-time": FORGE + "async def ask_in_time(client, url, images, seconds): return 200, []\n",
            "retries": FORGE + "async def with_retries(ask, backoff, sleep=None): return 200, None\n",
            "key": FORGE + "def refusal(given, key): return 403\n",
        },
    ),
}
