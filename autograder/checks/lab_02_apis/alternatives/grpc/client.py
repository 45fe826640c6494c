"""The client: requests with its own retries, which know Retry-After."""

import json
import os
import sys
from argparse import ArgumentParser

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

parser = ArgumentParser()
parser.add_argument("--url", default="http://localhost:8000")
parser.add_argument("--timeout", type=float, default=10.0)
parser.add_argument("command", choices=["predict"])
options = parser.parse_args()

session = requests.Session()
session.headers["X-API-Key"] = os.environ.get("API_KEY", "")
again = Retry(
    total=2, read=0, other=0, backoff_factor=0.2, backoff_jitter=0.2, status_forcelist=[503], allowed_methods=None
)
session.mount("http://", HTTPAdapter(max_retries=again))
try:
    answer = session.post(f"{options.url}/predict", json={"images": json.load(sys.stdin)}, timeout=options.timeout)
    answer.raise_for_status()
    print(answer.text)
except requests.RequestException as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
    sys.exit(1)
