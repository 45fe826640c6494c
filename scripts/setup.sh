#!/bin/sh
# Makes .venv at the root from requirements.lock, and nothing else. Safe to interrupt and to run again.
set -eu
cd "$(dirname "$0")/.."

stop() {
    echo "$1" >&2
    exit 3
}

compile() { # a pod's programs may read the course's bytecode, and can't write it
    .venv/bin/python -m compileall -qq autograder || true
}

stamp=.venv/.complete
wanted=$(cat requirements.lock pyproject.toml scripts/setup.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    compile
    exit 0
fi

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c "$fits" 2>/dev/null; then
            python=$candidate
            break
        fi
    done
elif ! "$python" -c "$fits" 2>/dev/null; then
    stop "PYTHON=$python is not Python 3.11, 3.12 or 3.13, which TensorFlow needs."
fi
have_uv=$(command -v uv || true)
if [ -z "$python" ] && [ -z "$have_uv" ]; then
    found=$(python3 --version 2>/dev/null || echo "no Python at all")
    stop "This course needs Python 3.11, 3.12 or 3.13, and found $found. Install one (or uv, which brings its own)."
fi

if [ -x .venv/bin/python ] && .venv/bin/python -c "$fits" 2>/dev/null; then
    rm -f "$stamp"
    echo "Bringing .venv up to date …"
else
    echo "Making .venv: about 2.7 GB, most of it TensorFlow. This takes a minute or a few, once."
    rm -rf .venv
    if [ -n "$have_uv" ]; then
        uv venv --quiet --python "${python:->=3.11,<3.14}" .venv || stop "uv could not make .venv; the line above says why."
    else
        "$python" -m venv .venv >/dev/null 2>&1 ||
            stop "Python's venv module is missing. On Debian and Ubuntu: sudo apt install python3-venv."
    fi
fi

if [ -n "$have_uv" ]; then
    uv pip sync --quiet --compile-bytecode --require-hashes --python .venv/bin/python requirements.lock &&
        uv pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --python .venv/bin/python --editable . ||
        stop "uv could not install the packages; the lines above say why. Run it again when that is mended."
else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock &&
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat --editable . ||
        stop "pip could not install the packages; the lines above say why. Run it again when that is mended."
fi
compile
echo "$wanted" >"$stamp"
