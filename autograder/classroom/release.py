"""`make release`: what students get of a lab, as a folder that works on its own, and as one file to upload.

nbgrader makes the assignment (no solutions, no hidden tests). To it comes the course's own machinery, with the visible
checks and nothing else of the instructor's: what is copied is named here, and everything else stays.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from autograder.classroom.assignment import MODULES, Assignment, assignments, load_assignment, make_sources
from autograder.classroom.gradebook import open_api
from autograder.errors import GraderError
from autograder.lab import ROOT, VISIBLE_ONLY

PACKAGE = ROOT / "autograder"
# A lab's own modules that come along, if what students may see needs them.
VISIBLE = ("visible", "play", "fixtures")
INSTRUCTORS = ("checks", "classroom")  # of the package's folders these stay; of `checks` the visible part goes
TOP = ("requirements.lock", "pyproject.toml", "scripts/setup.sh", "scripts/engine.sh", ".gitignore")
TARGETS = ("help", "setup", "lab-%", "up-%", "down", "status", "notebook", "doctor", "images")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", ".ipynb_checkpoints", "models")
README = """# {title}

```console
$ make lab-{number}       # sets everything up, grades labs/{lab} with the visible checks, and says what to do next
$ make notebook     # opens {notebook}.ipynb: read and try, with exercises to solve
$ make hand-in      # puts what you hand in into {name}.zip
```

All of it works with `git`, `make` and Python 3.11, 3.12 or 3.13 (or `uv`). The first run makes `.venv` (2.7 GB) and
takes a minute or a few. You work in [labs/{lab}](labs/{lab}/README.md) and in the notebook. Your instructor grades
both, with these checks and with more of the same kind.
"""
HAND_IN = """
hand-in: setup ## put what you hand in into {name}.zip
	@$(PY) -m zipfile -c {name}.zip {notebook}.ipynb labs
	@echo "{name}.zip holds the notebook and labs/{lab}: hand in this file."
"""


def release(names: list[str], root: Path) -> int:
    """Builds ``release/lab-NN`` and ``release/lab-NN.zip`` for the labs of these names, or for all.

    Raises:
        UsageError: there is no such lab.
        GraderError: nbgrader can't make the assignment, or something hidden would go out with it.
    """
    chosen = [load_assignment(name) for name in names] or assignments()
    make_sources(root)
    api = open_api(root)
    for assignment in chosen:
        made = api.generate_assignment(assignment.name, force=True, create=True)
        if not made["success"]:
            said = str(made.get("error") or made.get("log", ""))[-800:]
            raise GraderError(f"nbgrader could not make {assignment.name}: {said}")
        folder = root / "release" / assignment.name
        add_machinery(assignment, folder)
        archive = _pack(folder)
        print(f"{folder} is what students get; {archive.name} beside it is the same in one file.")
    return 0


def add_machinery(assignment: Assignment, folder: Path) -> None:
    """Puts all that ``make lab-NN`` needs into an assignment's folder. Raises GraderError."""
    for name in TOP:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    package = folder / "autograder"
    package.mkdir()
    for path in PACKAGE.glob("*.py"):
        shutil.copy(path, package)
    for name in machinery():
        shutil.copytree(PACKAGE / name, package / name, ignore=JUNK)
    _copy_checks(assignment, package)
    shutil.copytree(MODULES / assignment.module.name, folder / "modules" / assignment.module.name, ignore=_texts)
    for path in (folder / "modules").rglob("*.md"):  # their notebook lies on top
        text = path.read_text("utf-8").replace(f"]({assignment.notebook.name})", f"](../../{assignment.notebook.name})")
        path.write_text(text, "utf-8")
    for path in MODULES.glob("*.mplstyle"):
        shutil.copy(path, folder / "modules")
    (folder / "Makefile").write_text(makefile(assignment), "utf-8")
    words = {"name": assignment.name, "number": assignment.name[4:], "lab": assignment.lab.id}
    words |= {"title": assignment.lab.title, "notebook": assignment.notebook_name}
    (folder / "README.md").write_text(README.format(**words), "utf-8")
    for path in folder.rglob("*.sh"):
        path.chmod(0o755)


def machinery() -> list[str]:
    """The folders of the package that everybody has."""
    found = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    return sorted(set(found) - set(INSTRUCTORS))


def _texts(folder: str, names: list[str]) -> list[str]:
    """Of a module only what is to be read and is no notebook: that lies on top, without its solutions."""
    return [name for name in names if not name.endswith((".md", ".png", ".svg"))]


def _copy_checks(assignment: Assignment, package: Path) -> None:
    """The lab's visible checks and the modules that they import."""
    name = assignment.lab.checks.rpartition(".")[2]
    source, target = PACKAGE / "checks" / name, package / "checks" / name
    target.mkdir(parents=True)
    (package / "checks/__init__.py").write_text('"""The checks that you have, a folder a lab."""\n', "utf-8")
    shutil.copy(source / "__init__.py", target)
    for module in sorted(_needed(source, assignment.lab.checks)):
        path = source / f"{module}.py"
        if hidden := hidden_checks(path):
            raise GraderError(
                f"{path.name} holds hidden checks ({', '.join(hidden)}), and what students get imports it.",
                "Hidden checks in modules of their own.",
            )
        shutil.copy(path, target)
    (target / VISIBLE_ONLY).write_text("Your instructor has more checks than these.\n", "utf-8")


def _needed(source: Path, package: str) -> set[str]:
    """The lab's modules that its visible ones import, and these themselves."""
    found: set[str] = set()
    waiting = [name for name in VISIBLE if (source / f"{name}.py").is_file()]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        for node in ast.walk(ast.parse((source / f"{module}.py").read_text("utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                parent, _, last = name.rpartition(".")
                if parent == package and (source / f"{last}.py").is_file():
                    waiting.append(last)
    return found


def hidden_checks(path: Path) -> list[str]:
    """The names of the functions in a module that are checks and not visible ones."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for made in node.decorator_list:
                if isinstance(made, ast.Call) and ast.unparse(made.func).endswith("check"):
                    visible = {word.arg: ast.unparse(word.value) for word in made.keywords}.get("visible")
                    if visible != "True":
                        found.append(node.name)
    return found


def makefile(assignment: Assignment) -> str:
    """The course's Makefile with the targets that students have, and one to hand in."""
    text = (ROOT / "Makefile").read_text("utf-8")
    head, *rules = re.split(r"^(?=[a-z][a-z%-]*:)", text, flags=re.MULTILINE)
    kept = [rule for rule in rules if rule.partition(":")[0] in TARGETS]
    phony = " ".join(rule.partition(":")[0] for rule in kept)
    head = re.sub(r"^\.PHONY: .*$", f".PHONY: {phony} hand-in", head, flags=re.MULTILINE)
    head = re.sub(r"^# .*$", f"# {assignment.lab.title}. `make` alone lists what there is.", head, count=1, flags=re.M)
    made = head + "".join(kept).rstrip("\n") + "\n"
    made = re.sub(r"modules/\S+\.ipynb", f"{assignment.notebook_name}.ipynb", made)
    names = {"name": assignment.name, "lab": assignment.lab.id, "notebook": assignment.notebook_name}
    return made + HAND_IN.format(**names)


def _pack(folder: Path) -> Path:
    """The folder as a zip file beside it, complete or not there."""
    target = folder.with_suffix(".zip")
    with tempfile.NamedTemporaryFile(dir=folder.parent, prefix=".", suffix=".part", delete=False) as made:
        part = Path(made.name)
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, str(path.relative_to(folder.parent)))
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
