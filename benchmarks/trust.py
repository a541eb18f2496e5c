"""Show on a grown data set and on a real one that nothing goes stale and nothing runs twice; time it.

    python benchmarks/trust.py scale
    python benchmarks/trust.py hippocampus --mirror FOLDER

    scale        2,000 embedded images: the second run, judged up to date; then one edited case
    hippocampus  the experiment under git and DVC: repro, the same again, a label edited in place with its size
                 and times restored, a damaged checkpoint, a comment, clone and pull and sync, one number
                 recomputed from raw data, every number of the tables walked back to the archive

Every claim is asserted before a time is printed. The table goes to docs/results/trust_<part>.md with command,
commit, machine and date. Uncommitted changes are not measured: the clones hold what is committed.
"""

import argparse
import csv
import datetime
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from chain import ROOT, clone, contents, machine

BIN = Path(sys.executable).parent


class Project:
    """A clone that runs its own copy of the package."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(path / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_NO_ANALYTICS": "1",
        }

    def run(self, *command: str, expect: int = 0) -> tuple[str, float]:
        """Output and seconds of a command; ends with its output where it fails."""
        start = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != expect:
            sys.exit(f"{' '.join(command)} in {self.path}: {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout, time.monotonic() - start

    def edit(self, file: str, **changes: object) -> None:
        """Change keys at the top of a YAML file."""
        path = self.path / file
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))


def rules(output: str) -> list[str]:
    """Rules that ran, in order, without Snakemake's targets."""
    found = [line.split()[1].rstrip(":") for line in output.splitlines() if line.split(" ")[0] in KINDS]
    return [name for name in found if name != "all" and not name.endswith("_all")]


KINDS = ("rule", "localrule", "checkpoint", "localcheckpoint")


def told(ran: list[str]) -> str:
    """Names with their counts, in order of first appearance."""
    return ", ".join(
        f"{name} × {ran.count(name)}" if ran.count(name) > 1 else name for name in dict.fromkeys(ran)
    )


def check(condition: bool, what: str) -> None:
    """End where a claim does not hold."""
    if not condition:
        sys.exit(f"this does not hold: {what}")


# --- 2,000 cases -----------------------------------------------------------------------------------


def scale(folder: Path) -> list[tuple[str, str]]:
    """Second run and one edited case among 2,000."""
    project = Project(clone(folder, "scale"))
    dataset = yaml.safe_load((project.path / "config/datasets/phantom2d.yaml").read_text())
    options = dataset["options"] | {"subjects": 1000, "frames": 2}
    project.edit("config/datasets/phantom2d.yaml", options=options, batches=8)
    project.edit("config/budgets/smoke.yaml", training={"epochs": 1}, by_training={})
    project.edit("config/experiments/demo_2d.yaml", methods=["unet_tiny"])
    project.edit("config/config.yaml", experiments=["demo_2d"])
    _, first = project.run("snakemake")
    with (project.path / "data/index/phantom2d/cases.csv").open(newline="") as handle:
        cases = list(csv.DictReader(handle))
    check(len(cases) == 2000, f"2000 cases, found {len(cases)}")
    again = []
    for _ in range(5):
        output, seconds = project.run("snakemake")
        check("Nothing to be done" in output, "the second run does nothing")
        again.append(seconds)
    before = contents(project.path)
    split = (project.path / "data/splits/phantom2d/random.csv").read_text().splitlines()
    case = next(line.split(",")[0] for line in split[1:] if line.endswith("test"))
    row = next(row for row in cases if row["case"] == case)
    flip_one_pixel(project.path / "data/raw/phantom2d" / json.loads(row["labels"])[0])
    output, edited = project.run("snakemake")
    ran = rules(output)
    check(ran.count("prepare") == 1 and "train" not in ran, f"an edited test case prepares one batch: {ran}")
    after = contents(project.path)
    arrays = {n for n in after if n.endswith(".npy") and after[n] != before.get(n)}
    check(
        {Path(n).name.split(".")[0] for n in arrays} == {case}, f"arrays of the edited case alone: {arrays}"
    )
    return [
        ("2,000 cases: first run, one method, one epoch", f"{first:.0f} s"),
        ("second run: judged up to date (median of 5)", f"{statistics.median(again):.1f} s"),
        ("one test label edited: rules that ran", told(ran)),
        ("one test label edited: arrays made anew", str(len(arrays))),
        ("one test label edited: time", f"{edited:.1f} s"),
    ]


def flip_one_pixel(path: Path) -> None:
    """Change one foreground pixel of a label image to background."""
    from PIL import Image

    image = Image.open(path)
    array = image.copy()
    width, _ = array.size
    place = next(i for i, value in enumerate(array.tobytes()) if value)
    array.putpixel((place % width, place // width), 0)
    array.save(path)


# --- hippocampus -----------------------------------------------------------------------------------


def hippocampus(folder: Path, mirror: str) -> list[tuple[str, str]]:
    """The hazards on a real data set, under git and DVC."""
    project = Project(clone(folder, "hippocampus"))
    project.environment["SEGTRACE_MIRROR"] = str(Path(mirror).resolve())
    project.run("git", "config", "user.email", "someone@example.org")
    project.run("git", "config", "user.name", "Someone")
    project.edit("config/config.yaml", experiments=["hippocampus"])
    rows: list[tuple[str, str]] = []

    def step(what: str, output: str, seconds: float) -> list[str]:
        ran = rules(output)
        rows.append((what, f"{told(ran) or 'nothing'}; {seconds:.0f} s"))
        print(f"{what}: {rows[-1][1]}", flush=True)
        return ran

    project.run("snakemake", "data/raw/msd_hippocampus.receipt.json")
    project.run("segtrace", "pin", "msd_hippocampus")
    step("dvc repro, from raw data", *project.run("dvc", "repro"))
    project.run("snakemake")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "hippocampus")
    original = contents(project.path)
    check(step("dvc repro again", *project.run("dvc", "repro")) == [], "a second repro makes nothing")
    check(step("snakemake again", *project.run("snakemake")) == [], "a second run makes nothing")

    label = training_label(project)
    saved = label.read_bytes()
    edit_in_place(label)
    ran = step(
        "a training label edited in place, size and times restored, dvc repro", *project.run("dvc", "repro")
    )
    check(ran.count("prepare") == 1 and ran.count("train") == 1, f"one batch and one training: {ran}")
    check(contents(project.path) != original, "the edit changes the results")
    label.write_bytes(saved)
    step("the label brought back, dvc repro", *project.run("dvc", "repro"))
    check(contents(project.path) == original, "the first results, byte for byte")

    weights = next((project.path / "checkpoints").rglob("weights.safetensors"))
    damaged = bytearray(weights.read_bytes())
    damaged[-9] ^= 1
    weights.write_bytes(damaged)
    ran = step("a checkpoint with one byte changed, snakemake", *project.run("snakemake"))
    check(ran.count("train") == 1 and contents(project.path) == original, "retrained to the same bytes")
    module = project.path / "src/segtrace/networks/dynunet.py"
    module.write_text(module.read_text() + "\n# a comment\n")
    check(
        step("a comment in the network's module", *project.run("snakemake")) == [], "a comment runs nothing"
    )

    project.run("dvc", "push", "-q")
    copy = Project(clone_of(project, folder / "copy"))
    copy.run("dvc", "pull", "-q")
    _, seconds = copy.run("segtrace", "sync")
    output, _ = copy.run("snakemake")
    check("Nothing to be done" in output, "clone, pull and sync leave nothing to do")
    rows.append(("clone, dvc pull, segtrace sync", f"nothing to be done; sync took {seconds:.0f} s"))

    cells, seconds = walked(project)
    rows.append(
        ("numbers of all tables walked back to the archive", f"{cells}, all links hold; {seconds:.0f} s")
    )
    rows.append(recomputed(project))
    return rows


def training_label(project: Project) -> Path:
    """The label file of the first training case."""
    split = next((project.path / "data/splits/msd_hippocampus").glob("*.csv")).read_text().splitlines()
    case = next(line.split(",")[0] for line in split[1:] if line.endswith("train"))
    with (project.path / "data/index/msd_hippocampus/cases.csv").open(newline="") as handle:
        row = next(row for row in csv.DictReader(handle) if row["case"] == case)
    return project.path / "data/raw/msd_hippocampus" / json.loads(row["labels"])[0]


def edit_in_place(path: Path) -> None:
    """Set the last foreground voxel of a compressed volume to background; keep the file's size and times."""
    status = path.stat()
    content = bytearray(gzip.decompress(path.read_bytes()))
    place = max(i for i in range(352, len(content)) if content[i])
    content[place] = 0
    packed = gzip.compress(bytes(content), compresslevel=9, mtime=0)
    check(len(packed) <= status.st_size, "the edited file is not larger")
    path.write_bytes(packed + b"\0" * (status.st_size - len(packed)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    check(path.stat().st_size == status.st_size, "the size is kept")


def clone_of(project: Project, path: Path) -> Path:
    """A clone of a clone, which shares the store beside it."""
    subprocess.run(["git", "clone", "--quiet", str(project.path), str(path)], check=True)
    return path


def walked(project: Project) -> tuple[int, float]:
    """How many numbers of the experiment's tables were explained, and in how many seconds."""
    output, seconds = project.run(sys.executable, str(ROOT / "benchmarks/walk.py"), "hippocampus")
    return int(output.split()[-1]), seconds


def recomputed(project: Project) -> tuple[str, str]:
    """One number of the table, chosen at random, recomputed from raw data in a clean folder."""
    table = project.path / "results/hippocampus/summary.csv"
    with table.open(newline="") as handle:
        found = [row for row in csv.DictReader(handle) if row["metric"] in ("dice", "hd95_mm")]
    row = random.Random(0).choice(found)
    chosen = f"method={row['method']},label={row['label']},metric={row['metric']}"
    output, seconds = project.run(
        "segtrace", "reproduce", "results/hippocampus/summary.csv", "--row", chosen, "--column", "mean"
    )
    last = output.strip().splitlines()[-1]
    check(last.startswith("identical"), last)
    return (f"segtrace reproduce, {chosen}", f"{last}; {seconds:.0f} s")


def head() -> str:
    """The commit that clones made now hold."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def write(part: str, command: str, rows: list[tuple[str, str]], *, commit: str) -> None:
    """Write the page of a part."""
    lines = [
        f"# Trust, measured: {part}",
        "",
        f"`{command}`, {datetime.date.today()}, at commit {commit}, on {machine()}.",
        "",
        "| what | result |",
        "|---|---|",
        *(f"| {what} | {result} |" for what, result in rows),
    ]
    target = ROOT / f"docs/results/trust_{part}.md"
    target.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:]), f"\nwritten to {target}")


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("scale", "hippocampus"))
    parser.add_argument("--mirror", help="folder with archives under their published names")
    arguments = parser.parse_args()
    folder, commit = Path(tempfile.mkdtemp(prefix="segtrace-trust-")), head()
    try:
        if arguments.part == "scale":
            write("scale", "python benchmarks/trust.py scale", scale(folder), commit=commit)
        else:
            if not arguments.mirror:
                parser.error("hippocampus needs --mirror")
            rows = hippocampus(folder, arguments.mirror)
            write(
                "hippocampus", "python benchmarks/trust.py hippocampus --mirror FOLDER", rows, commit=commit
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
