"""A stage of ``dvc.yaml``: one Snakemake target, then what DVC must be able to rely on.

    python -m segtrace.trace.stage train

The command line is constant, for it is part of ``dvc.lock``: cores, GPUs and cluster come from Snakemake's
profile, ``profiles/default`` or the one that the environment variable ``SEGTRACE_PROFILE`` names. DVC writes its
lock only if this ends with 0: after the target is made, files that no configured job makes are put aside, and
every link from the stage's files back to the raw data is checked.

``index`` runs whenever ``dvc repro`` does, because DVC sees sizes, inodes and modification times only. A file
that was edited with these restored is given a new time, so that DVC sees it too.
"""

import json
import os
import sys
from pathlib import Path

from segtrace import layout
from segtrace.config import load, models
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import write_text
from segtrace.seen import state_of
from segtrace.trace import aside, check, jobs, sync, tools

#: Stage → the last phase that it makes.
STAGES = {
    "index": "index",
    "prepare": "validate",
    "split": "split",
    "train": "train",
    "predict": "predict",
    "score": "score",
    "compare": "overview",
}
#: Names the profile that takes the place of ``profiles/default``; SNAKEMAKE_PROFILE's values would only stand beneath it.
PROFILE = "SEGTRACE_PROFILE"
LAST_SEEN = Path(".segtrace/dvc/states.json")


def run(stage: str) -> None:
    """Run one stage; raises :class:`SegtraceError` where something must be mended first."""
    if stage not in STAGES:
        raise SegtraceError(f"no stage {stage!r}; there are: {', '.join(STAGES)}")
    config = load.main_config()
    if tools.has_dvc():
        tools.refuse_links()
    if stage == "index":
        _require_data(config)
        _require_pinned()
        shown = show_to_dvc(config)
        if shown:
            print(
                f"{len(shown)} files changed with their times restored; they have new times now", flush=True
            )
    if not check.all_known_to_snakemake(jobs.configured(config)):
        # a clone, or the copy in which DVC runs a queued experiment: nothing is taken for what it may not be
        sync.remake(config)
    profile = os.environ.get(PROFILE)
    chosen = ("--workflow-profile", profile) if profile else ()
    tools.call("snakemake", f"{stage}_all", *chosen, "--quiet", "host", show=True)
    wanted = jobs.configured(config, until=STAGES[stage])
    raise_all(
        [str(problem) for problem in check.broken(wanted, config)],
        heading=f"stage {stage}: these links do not hold, so DVC does not record the stage",
        remedy="Run the same command again; if it stays, segtrace why FILE says more.",
    )
    if stage == "compare":
        _walk(config)
        for page in aside.drop_pages(config):
            print(f"{page}: showed other tables; put aside, and 'snakemake' builds it anew", flush=True)
    moved = aside.prune(stage, config)
    for path in moved[:20]:
        print(f"{path}: no configured job makes this; put aside in {aside.ASIDE}", flush=True)
    if len(moved) > 20:
        print(f"and {len(moved) - 20} more", flush=True)
    remember(config)
    if stage in ("index", "compare") and tools.has_dvc():
        _tell_unpinned(config)


def _walk(config: models.Config) -> None:
    """Compute every mean and rank again from the scores, and walk from it to the raw files: a table and its record
    could have been edited together.
    """
    for name in config.experiments:
        for table in (
            layout.results(name) / f for f in ("summary.csv", "metrics.json", "aggregates.csv", "ranks.csv")
        ):
            tools.call("segtrace", "explain", str(table))


def _tell_unpinned(config: models.Config) -> None:
    """Say which configured data sets no pin holds: a clone could not fetch them."""
    for name in _datasets(config):
        if not layout.pin(name).is_file():
            print(
                f"data/raw/{name} is not pinned, so a clone of this commit cannot fetch it: segtrace pin {name}",
                flush=True,
            )


def _datasets(config: models.Config) -> list[str]:
    return sorted({load.experiment(name).dataset for name in config.experiments})


def _require_data(config: models.Config) -> None:
    """In a clone without data, say what to do instead of fetching or failing in the middle."""
    absent = [name for name in _datasets(config) if not layout.raw(name).is_dir()]
    if not absent:
        return
    embedded = [name for name in absent if load.dataset(name).access == "embedded"]
    anew = "'make demo'" if len(embedded) == len(absent) else "'snakemake'"
    unpinned = [name for name in absent if not layout.pin(name).is_file()]
    if unpinned:
        fetch = (
            f"This commit has no pin of {', '.join(unpinned)}, so 'dvc pull' cannot bring it: where the data is, run "
            f"'segtrace pin {' '.join(unpinned)}', commit and 'dvc push'; or m"
        )
    else:
        fetch = "Fetch what this commit was made from with 'dvc pull' and then 'segtrace sync'; or m"
    raise SegtraceError(
        f"there is no data of {', '.join(absent)} in data/raw. {fetch}ake it all anew with {anew} and then 'dvc repro'."
    )


def _require_pinned() -> None:
    """DVC verifies every pin there is, also of data sets that are not asked for: generate those that can be."""
    absent = [
        path.stem for path in sorted(Path("data/raw").glob("*.dvc")) if not layout.raw(path.stem).is_dir()
    ]
    known = load.names("datasets")
    for name in list(absent):
        if name in known and load.dataset(name).access == "embedded":
            tools.call("segtrace", "acquire", name)
            absent.remove(name)
    raise_all(
        [
            f"{layout.pin(name)}: its data is not there; 'dvc pull {layout.pin(name)}' fetches it"
            for name in absent
        ],
        heading="DVC verifies every pin",
        remedy="Fetch the data, or remove the pin of a data set that this project does not use.",
    )


def _watched(config: models.Config) -> list[Path]:
    """Files whose changes DVC must see: raw data, and outputs with all that they vouch for."""
    found: list[Path] = []
    for job in jobs.configured(config, until="overview"):
        if job.phase == "acquire":
            found += [path for path in layout.raw(job.name).rglob("*") if path.is_file()]
        found += [path for path in aside.files_of(job) if path.is_file()]
    return sorted(found)


def show_to_dvc(config: models.Config) -> list[Path]:
    """Give a new modification time to files whose change time alone says that they were written to.

    What their state was is known from the last stage; files that nothing is known of are left alone.
    """
    try:
        known = json.loads(LAST_SEEN.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    changed = []
    for path in _watched(config):
        before, now = known.get(str(path)), state_of(path)
        if before is not None and before != now and before[:3] == now[:3]:
            os.utime(path)
            changed.append(path)
    return changed


def remember(config: models.Config) -> None:
    """Note the state of all watched files, for :func:`show_to_dvc`."""
    states = {str(path): state_of(path) for path in _watched(config)}
    write_text(LAST_SEEN, json.dumps(states, sort_keys=True))


def main(arguments: list[str]) -> int:
    """Run the stage that the command line names."""
    try:
        if len(arguments) != 1:
            raise SegtraceError(f"give one stage: {', '.join(STAGES)}")
        run(arguments[0])
    except SegtraceError as error:
        print(f"segtrace: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
