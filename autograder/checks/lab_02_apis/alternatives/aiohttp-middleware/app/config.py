import os

KEY = os.environ.get("API_KEY") or exit("API_KEY is missing")
URL = os.environ.get("MODEL_SERVER_URL", "http://localhost:8501")
NAME = os.environ.get("MODEL_NAME", "digits")
TIMEOUT = float(os.environ.get("MODEL_TIMEOUT", "2"))
BACKOFF = float(os.environ.get("RETRY_BACKOFF", "0.1"))
MAX_BATCH = int(os.environ.get("MAX_BATCH", "128"))
