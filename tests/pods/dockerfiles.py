"""Dockerfiles, and what has to come of each in every runtime.

A new rule joins the list of promises by a line in here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

APP = {
    "main.py": b"print('the app')\n",
    "requirements.txt": b"requests  # any\nfastapi>=0.100\nuvicorn\n",
    "start.sh": b'#!/bin/sh\nexec "$@"\n',
    "pages/index.html": b"<p>hello</p>",
    "pages/deep/leaf.txt": b"leaf",
    ".env": b"API_KEY=planted-key-1\n",
}
KEY = b"planted-key-1"
START = 'CMD ["uvicorn", "main:app", "--port", "8000"]'
ARGV = ("uvicorn", "main:app", "--port", "8000")


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile that works.

    Attributes:
        text: the Dockerfile.
        argv, workdir, user, health, env: what the image says.
        leaks: whether it holds the planted key.
        holds, lacks: paths of the image, from its working directory.
        more: files beside those of ``APP``.
    """

    text: str
    argv: tuple[str, ...] = ARGV
    workdir: str = "/app"
    user: str = ""
    health: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    leaks: bool = False
    holds: tuple[str, ...] = ("main.py",)
    lacks: tuple[str, ...] = ()
    more: dict[str, bytes] = field(default_factory=dict)


def one(*lines: str, start: str = START, copy: str = "COPY main.py .") -> str:
    """The usual Dockerfile of one stage, with lines in the middle."""
    return "\n".join(["FROM python:3.11-slim", "WORKDIR /app", copy, *lines, start, ""])


def shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


RECIPES = {
    "exec": Recipe(one()),
    "shell": Recipe(one(start="CMD uvicorn main:app --port $PORT"), shell("uvicorn main:app --port $PORT")),
    "exec-shell": Recipe(one(start='CMD ["sh", "-c", "exec uvicorn main:app"]'), ("sh", "-c", "exec uvicorn main:app")),
    "broken-json-is-a-shells": Recipe(one(start="CMD ['uvicorn']"), shell("['uvicorn']")),
    "entrypoint-and-cmd": Recipe(
        one(start='ENTRYPOINT ["uvicorn"]\nCMD ["main:app", "--port", "8000"]'),
    ),
    "cmd-before-entrypoint": Recipe(one(start='CMD ["main:app"]\nENTRYPOINT ["uvicorn"]'), ("uvicorn", "main:app")),
    "shell-entrypoint": Recipe(one(start="ENTRYPOINT uvicorn main:app"), shell("uvicorn main:app")),
    "the-last-cmd-counts": Recipe(one('CMD ["python", "other.py"]')),
    "own-shell": Recipe(
        one('SHELL ["/bin/bash", "-c"]', start="CMD uvicorn main:app"), ("/bin/bash", "-c", "uvicorn main:app")
    ),
    "pip": Recipe(
        one("RUN pip install --no-cache-dir -r requirements.txt", "COPY . .", copy="COPY requirements.txt ."),
        leaks=True,
        holds=("main.py", "pages/deep/leaf.txt", ".env"),
    ),
    "pip-upgraded": Recipe(one("RUN pip install --upgrade pip && pip install 'fastapi' uvicorn")),
    "python-m-pip": Recipe(one("RUN python -m pip install -U requests")),
    "pip-in-a-virtual-environment": Recipe(
        one(
            "RUN python -m venv /opt/venv",
            'ENV PATH="/opt/venv/bin:$PATH"',
            "COPY requirements.txt .",
            "RUN pip install -r requirements.txt",
        )
    ),
    "cache-mount": Recipe(one("RUN --mount=type=cache,target=/root/.cache/pip pip install requests")),
    "all": Recipe(one(copy="COPY . ."), leaks=True, holds=("main.py", ".env", "pages/index.html")),
    "all-with-dockerignore": Recipe(
        one(copy="COPY . ."), holds=("main.py", "pages/index.html"), lacks=(".env",), more={".dockerignore": b".env\n"}
    ),
    "dockerignore-patterns": Recipe(
        one(copy="COPY . ."),
        holds=("main.py", "pages/deep/leaf.txt"),
        lacks=(".env", "pages/index.html", "requirements.txt"),
        more={".dockerignore": b"# all but\n*\n!main.py\n!pages/**\n**/*.html\n"},
    ),
    "dockerignore-that-forgets": Recipe(one(copy="COPY . ."), leaks=True, more={".dockerignore": b"*.pyc\n/env\n"}),
    "deleted-later": Recipe(one("RUN rm .env", copy="COPY . ."), leaks=True, lacks=(".env",)),
    "overwritten-later": Recipe(one("COPY main.py .env", copy="COPY . ."), leaks=True, holds=(".env",)),
    "key-in-env": Recipe(one(f"ENV API_KEY={KEY.decode()}"), env={"API_KEY": KEY.decode()}, leaks=True),
    "key-in-label": Recipe(one(f'LABEL note="{KEY.decode()}"'), leaks=True),
    "key-in-cmd": Recipe(one(start=f'CMD ["env", "K={KEY.decode()}"]'), ("env", f"K={KEY.decode()}"), leaks=True),
    "key-in-run": Recipe(one(f"RUN echo {KEY.decode()} > /dev/null"), leaks=True),
    "key-in-arg": Recipe(one(f"ARG API_KEY={KEY.decode()}", "RUN true"), leaks=True),
    "key-in-an-earlier-stage-alone": Recipe("FROM python AS a\nCOPY . /all\n" + one()),
    "stages": Recipe(
        "FROM python:3.12 AS builder\nWORKDIR /build\nCOPY . .\n"
        "FROM python:3.12-slim\nWORKDIR /app\nCOPY --from=builder /build/main.py /build/pages ./\n" + START,
        holds=("main.py", "index.html", "deep/leaf.txt"),
        lacks=(".env", "pages"),
    ),
    "stages-by-number": Recipe(
        "FROM python\nCOPY main.py /m/\nFROM python\nWORKDIR /app\nCOPY --from=0 /m .\n" + START
    ),
    "stage-on-a-stage": Recipe(
        "FROM python AS base\nWORKDIR /app\nENV A=1\nCOPY main.py .\nFROM base AS final\n" + START, env={"A": "1"}
    ),
    "packages-from-a-stage": Recipe(
        "FROM python:3.11 AS builder\nCOPY requirements.txt .\nRUN pip install --prefix=/install -r requirements.txt\n"
        "FROM python:3.11-slim\nCOPY --from=builder /install /usr/local\n"
        "COPY --from=builder /usr/local/lib/python3.11/site-packages /usr/local/lib/python3.11/site-packages\n"
        "WORKDIR /app\nCOPY main.py .\n" + START
    ),
    "registry-platform-name-and-argument": Recipe(
        "ARG VERSION=3.11\nFROM --platform=linux/amd64 docker.io/library/python:${VERSION}-slim AS app\n"
        "WORKDIR /app\nCOPY main.py .\n" + START
    ),
    "lower-case": Recipe(f"from python\nworkdir /app\ncopy main.py .\ncmd {START[4:]}"),
    "comments-and-long-lines": Recipe(
        "# syntax=docker/dockerfile:1\n\nFROM python\n  WORKDIR /app\nCOPY main.py \\\n  # why\n\n  ./\n"
        'RUN true && \\\n    true\nCMD ["uvicorn", \\\n "main:app", "--port", "8000"]'
    ),
    "windows-line-ends": Recipe(one().replace("\n", "\r\n")),
    "user-by-name": Recipe(one("RUN useradd --create-home app", "USER app"), user="app"),
    "user-and-group": Recipe(
        one("RUN groupadd app && useradd -g app app", "COPY --chown=app:app pages pages", "USER app:app"),
        user="app:app",
        holds=("pages/index.html",),
    ),
    "user-by-number": Recipe(one("USER 1000:1000"), user="1000:1000"),
    "user-zero": Recipe(one("USER 0"), user="0"),
    "user-root": Recipe(one("RUN useradd app", "USER app", "USER root"), user="root"),
    "user-from-an-argument": Recipe(
        one("ARG WHO=app", "RUN adduser --disabled-password $WHO", "USER $WHO"), user="app"
    ),
    "health-check": Recipe(
        one("HEALTHCHECK --interval=5s --timeout=3s --retries=3 CMD curl -f http://localhost:8000/health || exit 1"),
        health=shell("curl -f http://localhost:8000/health || exit 1"),
    ),
    "health-check-exec": Recipe(one('HEALTHCHECK CMD ["python", "check.py"]'), health=("python", "check.py")),
    "no-health-check": Recipe(one("HEALTHCHECK CMD true", "HEALTHCHECK NONE")),
    "env-in-all-its-forms": Recipe(
        one(
            "ENV A=1 B=\"two words\" C='three $A' D=four\\ words",
            "ENV E=$A-${B:-x} F=${NONE:-default} G=${A:+set}",
            "ENV H the rest of it",
            "ENV A=2 I=$A",
        ),
        env={
            "A": "2",
            "B": "two words",
            "C": "three $A",
            "D": "four words",
            "E": "1-two words",
            "F": "default",
            "G": "set",
            "H": "the rest of it",
            "I": "1",
        },
    ),
    "arguments-and-workdirs": Recipe(
        "FROM python\nARG TOP=/srv\nWORKDIR $TOP\nWORKDIR app\nCOPY main.py ${TOP}/app/\n" + START, workdir="/srv/app"
    ),
    "usr-src-app": Recipe("FROM python\nWORKDIR /usr/src/app\nCOPY . .\n" + START, workdir="/usr/src/app", leaks=True),
    "a-script-made-executable": Recipe(
        one("COPY start.sh /usr/local/bin/", "RUN chmod +x /usr/local/bin/start.sh", start='CMD ["start.sh", "true"]'),
        ("start.sh", "true"),
    ),
    "chmod": Recipe(one("COPY --chmod=755 start.sh ./run", start='CMD ["./run", "true"]'), ("./run", "true")),
    "several-files": Recipe(one(copy="COPY main.py requirements.txt ./"), holds=("main.py", "requirements.txt")),
    "several-files-to-here": Recipe(one(copy="COPY main.py requirements.txt ."), holds=("main.py", "requirements.txt")),
    "json-copy": Recipe(one(copy='COPY ["main.py", "/app/"]')),
    "another-name": Recipe(one("COPY main.py other/named.py"), holds=("main.py", "other/named.py")),
    "globs": Recipe(one(copy="COPY *.py req*.txt ./"), holds=("main.py", "requirements.txt"), lacks=("start.sh",)),
    "a-folders-content": Recipe(
        one("COPY pages .", "COPY pages/ copy"), holds=("index.html", "copy/deep/leaf.txt"), lacks=("pages",)
    ),
    "add": Recipe(one(copy="ADD main.py /app/")),
    "what-says-nothing": Recipe(one("EXPOSE 8000 9000/udp", "STOPSIGNAL SIGTERM", "VOLUME /data", "LABEL a=b c=d")),
}


# A Dockerfile that does not work: its text, and what its problem has to say.
MISTAKES: dict[str, tuple[bytes | str, str]] = {
    "missing-file": (one("COPY app.py ."), r"line 4: COPY app\.py \.: .*no app\.py in the build context"),
    "wrong-capitals": (one(copy="COPY Main.py ."), r"line 3: .*There is main\.py"),
    "no-match": (one("COPY *.toml ."), r"line 4: .*no file .* is meant by \*\.toml"),
    "nothing-to-copy": (one("COPY main.py"), r"line 4: COPY main\.py: COPY needs"),
    "several-to-a-file": (one("COPY main.py start.sh dest"), r"line 4: .*write dest/"),
    "outside": (one("COPY ../secret ."), r"line 4: .*outside of the build context"),
    "outside-in-the-middle": (one("COPY pages/../../../etc/passwd ."), r"line 4: .*outside of the build context"),
    "absolute": (one("COPY /etc/passwd ."), r"line 4: .*no /etc/passwd in the build context"),
    "unknown-instruction": (one("INSTALL fastapi"), r"line 4: 'INSTALL' is no instruction"),
    "no-from": (START, r"line 1: CMD .*stands before FROM"),
    "only-arguments": ("ARG A=1\n", r"no FROM"),
    "from-alone": ("FROM\n", r"line 1: FROM: FROM needs something"),
    "other-image": (
        one().replace("python:3.11-slim", "ubuntu:24.04"),
        r"line 1: FROM ubuntu:24\.04: .*FROM python:3\.11",
    ),
    "image-in-copy": (one("COPY --from=nginx:latest /etc/nginx ."), r"line 4: .*no stage nginx:latest"),
    "nothing-to-run": (one(start=""), r"neither CMD nor ENTRYPOINT"),
    "no-json-strings": (one(start='CMD ["uvicorn", 8000]'), r"line 4: .*nothing but strings"),
    "empty": (b"", r"no instruction in it"),
    "only-comments": ("# nothing\n\n", r"no instruction in it"),
    "not-utf-8": (b"FROM python\nLABEL a=\xff\xfe\n", r"line 2 is not UTF-8"),
    "zero-byte": (b"FROM python\nLABEL a=\0\n", r"zero byte"),
    "huge": (b"# " + b"x" * (1 << 20), r"1,048,578 bytes"),
    "too-many": ("FROM python\n" + "RUN true\n" * 1000, r"1001 instructions"),
    "open-quote": (one('ENV A="one'), r'line 4: ENV A="one: .*never closed'),
    "env-without-value": (one("ENV A"), r"line 4: ENV A: .*NAME=value"),
    "label-without-value": (one("LABEL a=b c"), r"line 4: .*no NAME=value"),
    "variables-inside-each-other": (one("ENV A=" + "${A:-" * 500 + "}" * 500), r"line 4: .*inside each other"),
    "json-inside-itself": (one(start="RUN " + "[" * 20_000), r"neither CMD nor ENTRYPOINT|line 4"),
    "values-that-double": (one(*["ENV A=xx$A$A$A$A$A$A$A$A"] * 20), r"too long"),
    "many-long-values": (one("ENV A=" + "x" * 30_000, "ENV " + "B=$A " * 6000), r"line 5: .*all values together"),
    "deep": (one("WORKDIR " + "a/" * 200), r"line 4: .*folders deep"),
    "port": (one("EXPOSE http"), r"line 4: .*'http' is no port"),
    "health-check-option": (one("HEALTHCHECK --interval=often CMD true"), r"line 4: .*a time like 30s"),
    "health-check-alone": (one("HEALTHCHECK curl localhost"), r"line 4: .*HEALTHCHECK CMD"),
    "unknown-option": (one("COPY --frm=a . ."), r"line 4: .*COPY has no --frm"),
    "heredoc": (one("RUN <<EOF\necho hello\nEOF"), r"line 4: .*BuildKit"),
    "chmod-from-a-stage": (
        "FROM python AS a\nCOPY start.sh /\n" + one("COPY --from=a --chmod=755 /start.sh ."),
        r"line 6: .*BuildKit.*RUN chmod",
    ),
    "bind-mount": (one("RUN --mount=type=bind,source=a,target=b pip install -r b"), r"line 4: .*BuildKit"),
    "unknown-user": (one("USER app"), r"line 4: USER app: .*RUN useradd app"),
    "unknown-owner": (one("COPY --chown=app:app main.py ."), r"line 4: .*RUN useradd app"),
    "user-made-too-late": (one("USER app", "RUN useradd app"), r"line 4: USER app"),
    "unknown-stage": (one("COPY --from=builder /a ."), r"line 4: .*no stage builder"),
    "missing-in-stage": ("FROM python AS a\n" + one("COPY --from=a /b ."), r"line 5: .*no /b in stage a"),
    "apt": (one("RUN apt-get update && apt-get install -y curl"), r"line 4: .*apt-get update needs a network"),
    "fetched": (one("ADD https://host.example/file ."), r"line 4: .*no network"),
    "unknown-package": (one("RUN pip install no-such-package"), r"line 4: .*no-such-package.*course's image"),
    "other-version": (
        one("RUN pip install fastapi==0.1.0"),
        r"line 4: .*fastapi==0\.1\.0.*the course's image has fastapi",
    ),
    "requirements-not-copied": (one("RUN pip install -r requirements.txt"), r"line 4: .*no requirements\.txt.*COPY it"),
    "left-out": (one("COPY requirements.txt ."), r"line 4: .*\.dockerignore leaves requirements\.txt out"),
}
