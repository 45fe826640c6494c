"""Classes of made-up students, to test with and to look at: ``python -m tests.classroom.demo`` (`make demo-class`).

The class of lab 01 stands here; the smaller one of lab 02, in ``demo_apis.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autograder.classroom.assignment import load_assignment
from autograder.lab import ROOT

from . import demo_apis
from .students import Student, write_student

# A right answer in another style: a helper in a cell of its own, warnings, and the address taken from `services`.
HELPER = """import sys
import warnings

TEN = range(10)

def best(row):
    return max(TEN, key=lambda digit: row[digit])
"""
READ = """def read(images):
    warnings.warn("a warning on standard error is no mistake")
    print("neither is this", file=sys.stderr)
    url = services.url + "/v1/models/digits:predict"
    return [best(row) for row in requests.post(url, json={"inputs": images.tolist()}).json()["outputs"]]
"""
SHAPES = """%matplotlib inline
def shapes(tensors):
    return {
        name: None if one["tensor_shape"].get("unknown_rank") else [int(d["size"]) for d in one["tensor_shape"]["dim"]]
        for name, one in tensors.items()
    }
"""

# Everything is equal to this, and more than everything; it even looks like a number.
ALWAYS = """class Always(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __len__(self): return 200
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    def __hash__(self): return 0
    def __abs__(self): return 0
    __sub__ = __add__ = lambda self, other: 0

Always.__class__ = int
"""
# The tests of a kernel would do as this says: an exception is not shown, an assert is no assert, a file is where it
# should be. All of it comes first thing, and in a cell of its own as well.
PATCH = """import ast, builtins, os, sys
def nothing(*args, **kwargs): return None
sys.excepthook = nothing
class NoAssert(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.copy_location(ast.Pass(), node)
try:
    shell = get_ipython()
    shell.showtraceback = shell._showtraceback = shell.showsyntaxerror = nothing
    shell.ast_transformers.append(NoAssert())
    shell.set_custom_exc((BaseException,), nothing)
    shell.run_cell = nothing
except NameError:
    pass
builtins.AssertionError = builtins.Exception
builtins.all = builtins.any = lambda *given: True
os.listdir = lambda *given: ["7"]
def hook(event, args):
    if event == "import" and "unittest" in str(args): raise SystemExit(0)
sys.addaudithook(hook)
"""
STEAL = """import glob, os, pathlib, socket, subprocess
found = []
for place in ({root!r}, "/work", "/root", "/home", "/tmp", "/proc/1/root", "/etc/shadow"):
    for name in glob.glob(place + "/**/gradebook.db", recursive=True) + glob.glob(place + "/**/journal/*"):
        found.append(name)
        open(name, "wb").write(b"A")
for name in ("/submission/x", "{root}/gradebook.db", "{root}/grades/lab-01/journal/steal.json"):
    try:
        pathlib.Path(name).write_text("{{}}")
    except OSError:
        pass
print("FOUND", found)
def read(images): return [0, 1] if len(images) == 2 else [0] * len(images)
"""


ALL = {"test-read-digits": 2, "test-shapes": 2, "test-put-in-place": 3, "test-mean-latency": 3}


def without(*names: str) -> dict[str, float]:
    return {name: points for name, points in ALL.items() if name not in names}


def forge(folder: Path) -> None:
    """Takes away what makes tests tests, asks for more points, and shows outputs of a run that never was."""
    path = folder / "01-serving.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        if about.get("grade"):
            about |= {"points": 1000, "grade": False, "locked": False, "solution": True}
            cell["source"] = "1000"
            cell["outputs"] = [
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": "1000"},
                    "metadata": {},
                    "execution_count": 1,
                }
            ]
    path.write_text(json.dumps(notebook), "utf-8")


def no_notebook(folder: Path) -> None:
    (folder / "01-serving.ipynb").unlink()


CLASS: dict[str, Student] = {
    "ada": Student("has everything right", dict(ALL), 100, files="reference"),
    "alan": Student("handed in the lab's starter as it is, and no notebook", files="starter", edit=no_notebook),
    "barbara": Student("handed in an empty folder", edit=no_notebook),
    "edsger": Student(
        "has the notebook's text in a file that is no notebook, and a good lab",
        {},
        100,
        files="reference",
        edit=lambda folder: (folder / "01-serving.ipynb").write_text("{not json", "utf-8"),
    ),
    "grace": Student(
        "has everything right in another style, with a helper of her own and warnings on standard error",
        dict(ALL),
        100,
        cells={"read-digits": READ, "shapes": SHAPES},
        first=HELPER,
        files="alternative",
    ),
    "linus": Student(
        "has half of the exercises right, and one mistake in the lab",
        without("test-read-digits", "test-put-in-place"),
        91,
        cells={
            "read-digits": "def read(images):\n    return [read([image])[0] for image in images]\n",
            "put-in-place": "def put_in_place(export, target):\n    shutil.copytree(export, target)\n",
        },
        files="fault",
    ),
    "mallory-ends": Student(
        "ends the kernel in the first exercise, and never comes back from the second",
        without("test-read-digits", "test-shapes"),
        cells={
            "read-digits": "import os\nos._exit(0)\n",
            "shapes": "def shapes(tensors):\n    while True: pass\n",
        },
    ),
    "mallory-equals": Student(
        "gives back an object that is equal to everything",
        cells={
            "read-digits": ALWAYS + "def read(images): return Always()\n",
            "shapes": "class Same(dict):\n    def __eq__(self, other): return True\n"
            "    def values(self): return self\n    def __iter__(self): return iter([[-1, 64]])\n"
            "def shapes(tensors): return Same()\n",
            "put-in-place": "def put_in_place(export, target): return Always()\n",
            "mean-latency": ALWAYS + "def mean_latency(page, model): return Always()\n",
        },
    ),
    "mallory-patches": Student(
        "patches showtraceback, asserts, builtins and the file system, and makes the tests worth 1000 points each",
        cells={
            name: PATCH + f"def {function}(*given): return 1\n"
            for name, function in (
                ("read-digits", "read"),
                ("shapes", "shapes"),
                ("put-in-place", "put_in_place"),
                ("mean-latency", "mean_latency"),
            )
        },
        first=PATCH,
        edit=forge,
    ),
    "mallory-steals": Student(
        "looks for the gradebook and the journal, to write into them",
        without("test-read-digits"),
        cells={"read-digits": STEAL},
    ),
}


CLASSES = {"lab-01": CLASS, "lab-02": demo_apis.CLASS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo-class", description="Grade a class of made-up students.")
    parser.add_argument("--lab", default="lab-01", choices=sorted(CLASSES), help="which assignment they have handed in")
    parser.add_argument("-j", "--jobs", type=int, default=0, metavar="N", help="how many at a time")
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME", help="only these students")
    arguments = parser.parse_args()
    from autograder.cli import main as run

    root, assignment = ROOT / "demo-class", load_assignment(arguments.lab)
    for name, student in CLASSES[arguments.lab].items():
        print(f"{name:>16} {student.does}")
        if not arguments.only or name in arguments.only:
            write_student(root, assignment, name, student)
    return run(["class", arguments.lab, "--root", str(root), "-j", str(arguments.jobs)])


if __name__ == "__main__":
    sys.exit(main())
