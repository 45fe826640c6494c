import os
import socket
import sys

with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "8000"))), timeout=2) as connection:
    connection.sendall(b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
    sys.exit(0 if b" 200 " in connection.recv(4096).split(b"\r\n")[0] else 1)
