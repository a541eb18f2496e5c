"""Make one number anew: what has to run for it, a clean folder to run it in, and the run.

The clean folder gets the workflow and the configuration, reduced to the runs that the number needs, and links
to the raw data. Everything else is made there from nothing.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from segtrace import layout
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError
from segtrace.files import write_text
from segtrace.trace import cells, check, jobs, record, tools
from segtrace.trace.jobs import Job

COPIED = ("workflow", "profiles", "config", "envs")
LOG = "reproduce.log"
#: Lines of the log that a failure shows.
TAIL = 40
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a cell needs: the experiment, the runs, the variant that is scored, and
    the configuration that the record says was asked for.
    """

    cell: cells.Subject
    experiment: str
    runs: tuple[layout.RunName, ...]
    variant: layout.Variant
    config: models.Config

    @property
    def dataset(self) -> str:
        """The data set that all runs work on."""
        return self.runs[0].dataset

    def jobs(self) -> list[Job]:
        """The jobs that lead to the cell, in the order of the phases."""
        made = [jobs.score(run, self.variant) for run in self.runs]
        last = [self.cell.job] if self.cell.job.phase == "compare" else []
        return [*jobs.above(made, self.config), *last]


# --- what has to run -------------------------------------------------------------------------------------


def plan(table: Path, *, row: str | None, column: str) -> Plan:
    """What the cell of ``table`` needs, as its record says it was made: method, runs, budget, seeds, threads.

    Raises :class:`SegtraceError` for another file, a cell that is not there, and a table without a record.
    """
    job = jobs.of_file(table)
    target = next((path for path in jobs.outputs(job) if path.name == table.name), None)
    if job.phase not in ("compare", "score") or target is None:
        raise SegtraceError(
            f"{table} holds no number that can be recomputed: name a table of results/EXPERIMENT (summary.csv, ranks.csv, "
            "metrics.json …), or scores/RUN/VARIANT.csv"
        )
    made = record.read(target)
    if made is None:
        raise SegtraceError(
            f"{target}: no record, or a damaged one, says how it was made; make it with: snakemake --cores 2 {target}"
        )
    of_scores = job.phase == "score"
    experiment = _naming(jobs.run_of(job)) if of_scores else job.name
    cell = cells.select(target, row=row, column=column)
    if not cell.one:
        raise SegtraceError(
            f"{target}: say which row: --row KEY=VALUE,KEY=VALUE of {', '.join(cells.KEYS[cell.kind])}"
        )
    if of_scores:
        chosen, variant = [jobs.run_of(job)], jobs.variant_of(job)
        asked = {"budget": chosen[0].budget, "seeds": [chosen[0].seed]}
    else:
        asked = made["configuration"]["asked"]
        every = runs.runs_of(experiment, budget=asked["budget"], seeds=asked["seeds"])
        chosen, variant = _needed(cell, every, experiment), runs.variant_of(load.experiment(experiment))
    trained = {
        "training_threads": _trained(chosen, "threads"),
        "determinism": _trained(chosen, "determinism"),
    }
    config = load.main_config({**asked, "experiments": [experiment], **trained})
    return Plan(cell, experiment, tuple(chosen), variant, config)


def _naming(run: layout.RunName) -> str:
    """The first experiment that names a run."""
    runs.training_of(run)  # says so if there is none, or if they disagree
    for name in [*load.names("experiments"), run.dataset]:
        found = load.experiment(name)
        same = (found.dataset, found.recipe, found.protocol) == (run.dataset, run.recipe, run.protocol)
        if same and run.method in found.methods:
            return name
    raise AssertionError(run)


def _needed(cell: cells.Subject, every: list[layout.RunName], experiment: str) -> list[layout.RunName]:
    """The runs of an experiment that a cell of its tables is made from."""
    # A rank is among all methods, a p-value corrected for all pairs, and a missing case one that others have.
    if cell.kind in ("ranks", "missing") or (cell.kind == "tests" and str(cell.column).endswith("_holm")):
        chosen = every
    elif cell.kind == "tests":
        chosen = [run for run in every if run.method in (cell.row["first"], cell.row["second"])]
    elif cell.row:
        wanted = {key: cell.row[key] for key in ("method", "fold", "seed") if key in cell.row}
        chosen = [run for run in every if all(str(getattr(run, k)) == value for k, value in wanted.items())]
    elif cell.path[0] == "scores_sha256":
        chosen = [run for run in every if run == jobs.run_of(jobs.of_file(cell.path[1]))]
    elif cell.path[0] == "split":
        chosen = every
    else:  # EXPERIMENT.METHOD.LABEL.METRIC
        chosen = [run for run in every if run.method == cell.path[1]]
    if not chosen:
        raise SegtraceError(
            f"{cell.file}: no run of the experiment {experiment}, as it is configured now, makes this cell; "
            "bring back the configuration that the table was made with"
        )
    return chosen


def _trained(chosen: list[layout.RunName], key: str) -> Any:
    """``threads`` or ``determinism`` that the runs were trained with, as their records say."""
    found: dict[Any, layout.RunName] = {}
    for run in chosen:
        output = jobs.outputs(jobs.train(run))[0]
        made = record.read(output)
        if made is None:
            raise SegtraceError(
                f"{jobs.record_of(output)}: no such record, or damaged: the run cannot be repeated"
            )
        found.setdefault(made["configuration"].get(key), run)
    if len(found) > 1:
        listed = "; ".join(f"{value} in {run}" for value, run in sorted(found.items(), key=str))
        raise SegtraceError(
            f"the runs of this cell were trained with different {key}: {listed}; they are no one table"
        )
    return next(iter(found))


# --- the clean folder ------------------------------------------------------------------------------------


def prepare(plan: Plan, folder: Path) -> None:
    """Fill the clean ``folder``: the workflow, the configuration reduced to the plan, links to the raw data."""
    shutil.copy(_there(Path("Snakefile")), folder)
    for name in COPIED:
        shutil.copytree(_there(Path(name)), folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    _reduce(plan, folder / load.ROOT)
    _bring_raw(plan, folder)


def _there(path: Path) -> Path:
    if not path.exists():
        raise SegtraceError(f"no {path} in {Path.cwd()}: run segtrace from the project's root")
    return path


def _reduce(plan: Plan, config: Path) -> None:
    """Leave of the configuration what the plan needs. Other experiments stay: they say how a run is trained."""
    path = config / "experiments" / f"{plan.experiment}.yaml"
    own = path.is_file()  # a data set's default experiment has no file
    experiment = load.read_yaml(path) if own else load.experiment(plan.experiment).model_dump(mode="json")
    experiment["methods"] = list(dict.fromkeys(run.method for run in plan.runs))
    for row in (experiment.get("published") or {}).get("rows", ()):
        if row.get("method") not in experiment["methods"]:
            row["method"] = None
    experiment["folds"] = sorted({run.fold for run in plan.runs})
    # A number that is of clean images needs no others, and a drop those of its own corruption.
    experiment.pop("corruptions", None)
    if plan.cell.kind == "robustness":
        row = plan.cell.row
        experiment["corruptions"] = {row["corruption"]: [float(row["strength"])]}
    _write_yaml(path, experiment)
    main = plan.config.model_dump(mode="json")
    main["seeds"] = sorted({run.seed for run in plan.runs})
    main.pop("tracking")  # nobody watches
    main.pop("jobs_per_gpu")  # one run alone
    if main["mirror"]:
        main["mirror"] = str(Path(main["mirror"]).expanduser().absolute())
    _write_yaml(config / "config.yaml", main)


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    import yaml

    write_text(path, yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True))


def _bring_raw(plan: Plan, folder: Path) -> None:
    """Link the raw data and copy their receipt. Where the record of the receipt no longer holds, it is made anew."""
    job = jobs.acquire(plan.dataset)
    tree, receipt = layout.raw(plan.dataset), layout.receipt(plan.dataset)
    changed = {problem.what for problem in check.problems(job, plan.config)}
    (folder / tree).parent.mkdir(parents=True)
    if load.dataset(plan.dataset).access == "embedded" and changed & {"code", "configuration"}:
        return  # another generator: it is part of what is recomputed
    (folder / tree).symlink_to(tree.resolve(), target_is_directory=True)
    for path in (receipt, jobs.record_of(receipt)):
        if path.is_file():
            shutil.copy(path, folder / path)
    if changed:
        code, log = _call(["segtrace", "acquire", plan.dataset], folder, say=None)
        if code:
            raise SegtraceError(f"segtrace acquire {plan.dataset} fails in {folder}:\n{_tail(log)}")


# --- the run ---------------------------------------------------------------------------------------------


def run(plan: Plan, folder: Path, *, cores: int, say: Say) -> None:
    """Make the plan's file in the clean ``folder``; a failure shows the end of its log."""
    code, log = _call(["snakemake", "--cores", str(cores), str(plan.cell.file)], folder, say=say)
    if code:
        raise SegtraceError(
            f"snakemake ended with {code} in {folder}; the end of {log}:\n{_tail(log)}\n"
            "The number was not recomputed. To look at that folder, give --folder DIR or --keep."
        )


def _call(command: list[str], folder: Path, *, say: Say | None) -> tuple[int, Path]:
    """Run a command of this environment in ``folder``, its output in the log there; (exit status, log)."""
    environ = {key: value for key, value in os.environ.items() if key != "SNAKEMAKE_PROFILE"}
    if environ.get("PYTHONPATH"):  # may be relative to the project
        parts = environ["PYTHONPATH"].split(os.pathsep)
        environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in parts if part)
    path = folder / LOG
    with path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [tools.program(command[0]), *command[1:]],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            _follow(process, log, say)
            return process.wait(), path
        except BaseException:  # an interrupt: nobody may work on in a folder that is about to be removed
            process.terminate()
            process.wait()
            raise


def _follow(process: "subprocess.Popen[str]", log: IO[str], say: Say | None) -> None:
    """Write what a process says to the log until it ends, telling ``say`` of the jobs that are done."""
    assert process.stdout is not None
    rule = ""
    for line in process.stdout:
        log.write(line)
        log.flush()
        if say is not None:
            rule = _progress(line, rule, say)


def _progress(line: str, rule: str, say: Say) -> str:
    """Tell of a finished job from two lines of Snakemake's: the rule's name, and how many of all are done."""
    finished = re.search(r"^Finished jobid: \d+ \(Rule: (\w+)\)", line)
    if finished:
        return finished[1]
    steps = re.search(r"^(\d+ of \d+) steps", line)
    if steps:
        say(f"  {steps[1]} jobs done: {rule}")
    return rule


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL:])
