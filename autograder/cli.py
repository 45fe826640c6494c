"""The commands: ``python -m autograder COMMAND``. Nothing else in the course knows about argv.

Exit codes: 0 when the command did what it was asked (a graded submission, whatever its score), 2 when it was asked
in a way that can't work, 3 when this machine or the grader failed, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from autograder.errors import CourseError

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="autograder", description="Grade a lab, run its services, look at this machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    grade = commands.add_parser("grade", help="grade one submission and write its report")
    grade.set_defaults(run=run_grade)
    grade.add_argument("lab", metavar="LAB", help="lab-01, or lab-01-serving")
    grade.add_argument("path", metavar="PATH", type=Path, nargs="?", help="the submission's folder (default: labs/LAB)")
    grade.add_argument(
        "--runtime", default="auto", help="auto (what $RUNTIME says, or Docker if it can be used), local, docker"
    )
    grade.add_argument("--out", type=Path, metavar="DIR", help="where to write the report (default: reports/LAB)")
    grade.add_argument("--seed", type=seed, metavar="N", help="repeat a run: the seed stands in its report")
    grade.add_argument("--visible", action="store_true", help="only the checks that students have")
    grade.add_argument("--no-sandbox", action="store_true", help="grade code that you trust on a machine without walls")

    up = commands.add_parser("up", help="start a lab's services on the standard ports, to play with")
    up.set_defaults(run=run_up)
    up.add_argument("lab", metavar="LAB")
    up.add_argument("--submission", type=Path, metavar="PATH", help="whose files to run (default: labs/LAB)")
    up.add_argument("--runtime", default="auto", help="likewise: auto, local, docker")
    down = commands.add_parser("down", help="stop what `up` started")
    down.set_defaults(run=run_down)
    status = commands.add_parser("status", help="what is running")
    status.set_defaults(run=run_status)

    if (Path(__file__).parent / "classroom").is_dir():  # students don't have it
        add_instructors(commands)

    images = commands.add_parser("images", help="the images that pods in Docker are made of")
    images.set_defaults(run=run_images)
    actions = images.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="pull them, or build what takes their place")
    build.add_argument("names", nargs="*", metavar="IMAGE", help="only these (default: all)")
    build.add_argument("--lab", metavar="LAB", help="only what this lab needs")
    for action, what in (("save", "write them all into FILE"), ("load", "take them from FILE")):
        actions.add_parser(action, help=what).add_argument("file", type=Path, metavar="FILE")
    actions.add_parser("list", help="what is here, and what is not")
    actions.add_parser("clean", help="remove containers and volumes that a killed run left")
    return top


def add_instructors(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands of instructors and authors."""
    labs = commands.add_parser("labs", help="make labs/ from solutions/")
    labs.set_defaults(run=run_labs)
    labs.add_argument("--check", action="store_true", help="change nothing; say whether labs/ is current")

    prove = commands.add_parser("prove", help="grade the planted faults of a lab and show which check finds which")
    prove.set_defaults(run=run_prove)
    prove.add_argument("lab", metavar="LAB")
    prove.add_argument("--fault", action="append", metavar="NAME", help="only this one (may be repeated)")
    prove.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="how many at the same time (2)")
    prove.add_argument("--runtime", default="auto", help="auto, local, docker")

    release = commands.add_parser("release", help="build what students get of a lab, in release/")
    release.set_defaults(run=run_release)
    release.add_argument("labs", nargs="*", metavar="LAB", help="which (default: all)")
    release.add_argument("--root", type=Path, metavar="DIR", help="the course's folder for nbgrader (default: here)")
    classroom = commands.add_parser("class", help="grade everything in submitted/, into nbgrader's gradebook")
    classroom.set_defaults(run=run_class)
    classroom.add_argument("lab", metavar="LAB")
    classroom.add_argument("--root", type=Path, metavar="DIR", help="the course's folder for nbgrader (default: here)")
    classroom.add_argument("-j", "--jobs", type=int, default=0, metavar="N", help="how many at a time (default: fits)")
    classroom.add_argument("--scheduler", default="", metavar="ADDRESS", help="grade on this Dask scheduler's workers")
    classroom.add_argument("--runtime", default="auto", help="of the labs: auto, local, docker")
    classroom.add_argument("--no-sandbox", action="store_true", help="on a machine without walls: you trust all of it")


def seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**32 - 1}")
    return number


def main(argv: list[str] | None = None) -> int:
    try:
        arguments = parser().parse_args(argv)
        if "runtime" in arguments:
            from autograder.pods import wanted

            arguments.runtime = wanted(arguments.runtime)
        # A closed terminal and a `kill` end a run the way Ctrl-C does: everything is put away first.
        for number in ENDS:
            signal.signal(number, _interrupt)
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except CourseError as error:
        print(f"\n{error.saw}", file=sys.stderr)
        if error.expected:
            print(f"Expected: {error.expected}", file=sys.stderr)
        if error.hint:
            print(f"Try: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        to = "go on" if (sys.argv[1:] if argv is None else argv)[:1] == ["class"] else "start again"
        print(f"\nStopped. Nothing of it is left running; run the same command to {to}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        print(f"\nThe grader failed, and not your work: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"Try: Run it again; if it happens again, report it with “{_place(error)}”.", file=sys.stderr)
        return 3


def _interrupt(*_: object) -> None:
    """The first signal has everything put away; a second one ends us at once, and the next run puts it away."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _place(error: BaseException) -> str:
    """Where an exception was raised: the last function of ours, its file and its line."""
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if "autograder" in frame.filename][-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"


def run_grade(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from autograder.grading import grade
    from autograder.lab import ROOT, load_lab
    from autograder.report.terminal import Progress, render
    from autograder.report.write import write_reports

    lab = load_lab(arguments.lab)
    out: Path = arguments.out or ROOT / "reports" / lab.id
    require_room(out)
    log: list[str] = []
    try:
        console = Console()
        with Progress(console=console) as progress:
            report = grade(
                lab,
                arguments.path or lab.folder,
                seed=arguments.seed,
                visible=arguments.visible,
                sandbox=not arguments.no_sandbox,
                runtime=arguments.runtime,
                progress=progress,
                log=log,
            )
    finally:
        if log:
            with contextlib.suppress(OSError):  # what is wrong with it, the report's own files will say
                out.mkdir(parents=True, exist_ok=True)
                (out / "grader.log").write_text("\n\n".join(log), "utf-8", "replace")
    try:
        files = write_reports(report, out)
    except CourseError:
        render(report, console, {})  # what was found is not lost with the files
        raise
    render(report, console, files)
    return 0 if report.graded else 3


def require_room(folder: Path) -> None:
    """Makes the folder of a report and tries to write there, before a minute is spent on grading.

    Raises:
        MachineError: it can't be written to.
    """
    from autograder.errors import MachineError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(bytes(1 << 18))
    except OSError as error:
        raise MachineError(
            f"The report can't be written to {folder}: {error.strerror}.",
            "A folder that can be written to, on a disk with space left.",
            "Choose another folder with --out, or make room (`df -h` shows how full each disk is).",
        ) from error


def run_up(arguments: argparse.Namespace) -> int:
    from autograder.playground import up

    return up(arguments.lab, arguments.submission, arguments.runtime)


def run_down(arguments: argparse.Namespace) -> int:
    from autograder.playground import down

    return down()


def run_status(arguments: argparse.Namespace) -> int:
    from autograder.playground import status

    return status()


def run_labs(arguments: argparse.Namespace) -> int:
    from autograder.classroom.starters import make_starters

    return make_starters(check=arguments.check)


def run_prove(arguments: argparse.Namespace) -> int:
    from autograder.classroom.faults import prove

    return prove(arguments.lab, arguments.fault or [], arguments.jobs, arguments.runtime)


def run_release(arguments: argparse.Namespace) -> int:
    from autograder.classroom.release import release
    from autograder.lab import ROOT

    return release(arguments.labs, (arguments.root or ROOT).absolute())


def run_class(arguments: argparse.Namespace) -> int:
    from autograder.classroom.grade import grade_class
    from autograder.lab import ROOT

    return grade_class(
        arguments.lab,
        (arguments.root or ROOT).absolute(),
        jobs=max(0, arguments.jobs),
        scheduler=arguments.scheduler,
        runtime=arguments.runtime,
        sandbox=not arguments.no_sandbox,
    )


def run_images(arguments: argparse.Namespace) -> int:
    from functools import partial

    from autograder.lab import load_lab
    from autograder.pods.docker.engine import connect, failures, sweep
    from autograder.pods.images import build, needed

    say = partial(print, flush=True)
    engine = connect()
    listing: list[str] = []
    with failures(f"images {arguments.action}"):
        match arguments.action:
            case "build":
                names = needed(load_lab(arguments.lab).services) if arguments.lab else arguments.names
                lacking = build.build(engine.client, names, say)
                return 3 if lacking and (arguments.names or arguments.lab) else 0
            case "save":
                build.save(engine.client, arguments.file, say)
            case "load":
                build.load(engine.client, arguments.file, say)
            case "list":
                listing = list(build.listing(engine.client))
            case "clean":
                say(f"Removed: {sweep(engine)}.")
    for line in listing:
        say(line)
    return 0
