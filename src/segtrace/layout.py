"""Where every file of a project lies, relative to its root (the working directory).

The workflow, the commands and the tests all take paths from here. A run is named
``DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S``; a variant of its predictions is named
``ROLE-CHECKPOINT-GRID-CORRUPTION``, for example ``test-last-native-none``.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segtrace.errors import SegtraceError

RUN_PATTERN = (
    r"(?P<dataset>[^/]+)/(?P<recipe>[^/]+)/(?P<protocol>[^/]+)/(?P<method>[^/]+)/(?P<budget>[^/]+)"
    r"/fold-(?P<fold>\d+)_seed-(?P<seed>\d+)"
)
VARIANT_PATTERN = r"(?P<role>test|val|train)-(?P<checkpoint>last|best_val)-(?P<grid>native|prepared)-(?P<corruption>[a-z0-9_.]+)"

#: Kinds of corruption of the images that are segmented; a corruption is named KIND_STRENGTH, such as ``noise_0.1``.
#: Kind → what its strength is, for readers.
CORRUPTIONS = {
    "noise": "standard deviation, as a share of the image's own",
    "blur": "standard deviation of the Gaussian, in voxels",
    "contrast": "factor about the mean",
    "scale": "factor of the number of voxels along an axis",
}
_CORRUPTION = rf"(?:{'|'.join(CORRUPTIONS)})_\d+(?:\.\d+)?"
#: Tables of all experiments, one folder each; the joined tables lie at its top.
RESULTS = Path("results")
#: Checkpoint of a variant → file in the run's folder.
WEIGHTS = {"last": "weights.safetensors", "best_val": "best_val.safetensors"}


@dataclass(frozen=True)
class RunName:
    """The name of a run, taken apart."""

    dataset: str
    recipe: str
    protocol: str
    method: str
    budget: str
    fold: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.dataset}/{self.recipe}/{self.protocol}/{self.method}/{self.budget}"
            f"/fold-{self.fold}_seed-{self.seed}"
        )


def parse_run(text: str) -> RunName:
    """Take a run's name apart; raise :class:`SegtraceError` if it is none."""
    match = re.fullmatch(RUN_PATTERN, text.strip("/"))
    if match is None:
        raise SegtraceError(
            f"{text!r} is no run; a run is DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S"
        )
    parts = match.groupdict()
    return RunName(
        dataset=parts["dataset"],
        recipe=parts["recipe"],
        protocol=parts["protocol"],
        method=parts["method"],
        budget=parts["budget"],
        fold=int(parts["fold"]),
        seed=int(parts["seed"]),
    )


@dataclass(frozen=True)
class Variant:
    """What was predicted and how it is scored: role, checkpoint, grid, corruption."""

    role: str = "test"
    checkpoint: str = "last"
    grid: str = "native"
    corruption: str = "none"

    def __str__(self) -> str:
        return f"{self.role}-{self.checkpoint}-{self.grid}-{self.corruption}"


def parse_variant(text: str) -> Variant:
    """Take a variant's name apart; raise :class:`SegtraceError` if it is none."""
    match = re.fullmatch(VARIANT_PATTERN, text)
    if match is None:
        raise SegtraceError(
            f"{text!r} is no variant; one is ROLE-CHECKPOINT-GRID-CORRUPTION, such as test-last-native-none"
        )
    return Variant(**match.groupdict())


def corruption_name(kind: str, strength: float) -> str:
    """The name of a corruption of one of :data:`CORRUPTIONS`; raise :class:`SegtraceError` for one that has none.

    A name has at most six significant digits, and names its strength exactly.
    """
    name = f"{kind}_{strength:g}"
    if re.fullmatch(_CORRUPTION, name) is None or float(f"{strength:g}") != strength:
        raise SegtraceError(
            f"corruption {kind!r} of strength {strength!r}: kinds are {', '.join(CORRUPTIONS)}, and a strength is a "
            "number of at most six digits, not negative"
        )
    return name


def parse_corruption(name: str) -> tuple[str, float]:
    """(kind, strength) of a corruption's name; raise :class:`SegtraceError` if it is none."""
    kind, _, strength = name.partition("_")
    if re.fullmatch(_CORRUPTION, name) is None or name != f"{kind}_{float(strength):g}":
        raise SegtraceError(
            f"no corruption {name!r}; there is 'none', and KIND_STRENGTH such as noise_0.1, where KIND is one of "
            f"{', '.join(CORRUPTIONS)} and STRENGTH is written without needless digits"
        )
    return kind, float(strength)


def raw(dataset: str) -> Path:
    """The data set as published."""
    return Path("data/raw") / dataset


def receipt(dataset: str) -> Path:
    """What ``acquire`` unpacked: archives, checksums, files."""
    return Path("data/raw") / f"{dataset}.receipt.json"


def pin(dataset: str) -> Path:
    """The file with which DVC pins the raw files and their receipt."""
    return Path("data/raw") / f"{dataset}.dvc"


def index(dataset: str) -> Path:
    """Folder of ``cases.csv`` and the raw gate."""
    return Path("data/index") / dataset


def cases(dataset: str) -> Path:
    """One row a case."""
    return index(dataset) / "cases.csv"


def duplicates(dataset: str) -> Path:
    """One row a pair of cases that show the same image."""
    return index(dataset) / "duplicates.csv"


def thumbnails(dataset: str) -> Path:
    """Thumbnails of the cases, in the order of ``cases.csv``: pictures, so no part of what is shared."""
    return Path(".segtrace/index") / f"{dataset}.npy"


def prepared(dataset: str, recipe: str) -> Path:
    """Folder of prepared arrays, ``prepared.csv``, ``mask_checks.csv`` and the prepared gate."""
    return Path("data/prepared") / dataset / recipe


def batch_table(dataset: str, recipe: str, batch: int) -> Path:
    """Rows of the cases of one batch of ``prepare``."""
    return prepared(dataset, recipe) / "batches" / f"{batch:03d}.csv"


def split(dataset: str, protocol: str) -> Path:
    """One row a case and fold: its role."""
    return Path("data/splits") / dataset / f"{protocol}.csv"


def split_gate(dataset: str, protocol: str) -> Path:
    """What the split is, in words and numbers, and how it was judged."""
    return Path("data/splits") / dataset / f"{protocol}.gate.json"


def kept_split(name: str) -> Path:
    """A committed split table, whose cases a protocol keeps where they are."""
    return Path("config/datasets") / name


def run(name: str | RunName) -> Path:
    """Checkpoints, history and ``run.json`` of a run."""
    return Path("checkpoints") / str(name)


def predictions(name: str | RunName, variant: str | Variant) -> Path:
    """Label maps of a run's variant, and ``predictions.csv``."""
    return Path("predictions") / str(name) / str(variant)


def scores(name: str | RunName, variant: str | Variant) -> Path:
    """Scores per case and label."""
    return Path("scores") / str(name) / f"{variant}.csv"


def results(experiment: str) -> Path:
    """Deterministic tables of an experiment."""
    return RESULTS / experiment


def audit(datasets: Iterable[str]) -> Path:
    """The page about one or several data sets."""
    return Path("reports/audit") / "+".join(datasets) / "index.html"


def report(experiment: str) -> Path:
    """The page to open."""
    return Path("reports") / experiment / "index.html"


def data_docs(dataset: str, gate: str) -> Path:
    """Great Expectations' HTML pages of a gate: for reading, never compared."""
    return Path("reports/gates") / dataset / gate


def batch_of(case: str, batches: int) -> int:
    """The batch of a case: a hash of its id, so that a new case moves no other."""
    return int(hashlib.sha256(case.encode()).hexdigest()[:8], 16) % batches


def any_of(names: Iterable[str]) -> str:
    """A pattern that matches exactly one of ``names``, and nothing if there are none."""
    return "|".join(re.escape(name) for name in sorted(set(names))) or "(?!)"


def run_pattern(*parts: Iterable[str]) -> str:
    """A pattern of the names of runs: data sets, recipes, protocols, methods and budgets that there are."""
    return "/".join(f"(?:{any_of(names)})" for names in parts) + r"/fold-\d+_seed-\d+"


def variant_pattern() -> str:
    """A pattern of the variants that can be made."""
    return rf"(?:test|val|train)-(?:last|best_val)-(?:native|prepared)-(?:none|{_CORRUPTION})"
