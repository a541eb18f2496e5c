"""``protocols`` of a data set: how its cases become folds and roles."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from segtrace.config.types import Fraction, Model, distinct

Kind = Literal["grouped_random", "k_fold", "last_n", "plain_k_fold", "plain_random", "official", "side_folds"]
Role = Literal["train", "val", "test"]

#: Kind → (the keys that it needs, the keys that it can take besides).
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "grouped_random": (
        ("test_fraction", "validation_fraction"),
        ("repeats", "seed", "stratify", "keep"),
    ),
    "k_fold": (("folds", "validation_fraction"), ("seed", "stratify", "keep")),
    "last_n": (("test_cases", "validation_cases"), ("shuffle", "shuffle_seed", "train_cases")),
    "plain_k_fold": (
        ("folds",),
        ("shuffle", "shuffle_seed", "held_out", "validation_fraction", "seed", "stratify"),
    ),
    "plain_random": (
        ("shuffle_seed",),
        (
            "test_fraction",
            "test_cases",
            "validation_fraction",
            "shuffle",
            "repeats",
            "held_out",
            "train_cases",
        ),
    ),
    "official": (("roles",), ("validation_fraction", "seed", "stratify", "train_cases")),
    "side_folds": (("sides",), ("held_out", "validation_fraction", "seed", "stratify")),
}
#: Kinds that place whole clusters: no leak is possible but by a kept table.
GROUPED = ("grouped_random", "k_fold")


class Protocol(Model):
    """How cases become folds and roles; see docs/split.md for each kind's exact rule."""

    kind: Kind
    source: str = ""
    published: bool = False
    """A published protocol is followed even where it lets near-identical cases on both sides; tables say so."""
    groups: list[str] | None = None
    """Use only cases whose ``group`` is one of these (for example benign and malignant)."""
    sides: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)] | None = None
    """Use only cases that their owner put on one of these sides. ``side_folds``: fold k holds out the k-th."""
    subset: PositiveInt | None = None
    """Use only so many of these cases: those whose names have the least hashes."""
    roles: dict[str, Role] = {}
    """``official``: side of the owner → role. Cases of other sides are left out."""
    train_cases: PositiveInt | None = None
    """So many cases must be left for training: an incomplete copy is refused."""
    test_cases: PositiveInt | None = None
    validation_cases: NonNegativeInt | None = None
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    validation_fraction: Fraction | None = None
    """Of what is left after the test set."""
    shuffle: Literal["python", "numpy"] = "python"
    """By ``random.Random(shuffle_seed).shuffle``, or by ``numpy.random.RandomState(shuffle_seed).permutation``."""
    shuffle_seed: NonNegativeInt | None = None
    """None leaves the cases sorted."""
    folds: Annotated[int, Field(ge=2)] | None = None
    repeats: PositiveInt = 1
    """Fold k is the k-th repetition, with k added to the seed."""
    held_out: Literal["test", "val"] = "test"
    """Role of the part that is held out. ``val``: it is also what the published code chose its model on."""
    seed: int = 0
    stratify: bool = True
    """Draw in each stratum of class and lesion size apart. False: by a hash of each cluster alone."""
    keep: str | None = None
    """A split table in ``config/datasets`` whose cases keep their fold and role."""

    @model_validator(mode="after")
    def _complete(self) -> "Protocol":
        needed, possible = KEYS[self.kind]
        given = self.model_fields_set
        missing = [key for key in needed if key not in given or getattr(self, key) is None]
        if missing:
            raise ValueError(f"a protocol of kind {self.kind} needs {', '.join(missing)}")
        unused = sorted(
            given - {"kind", "source", "published", "groups", "sides", "subset", *needed, *possible}
        )
        if unused:
            raise ValueError(f"a protocol of kind {self.kind} has no use for {', '.join(unused)}")
        if self.kind == "plain_random" and (self.test_fraction is None) == (self.test_cases is None):
            raise ValueError(
                "a protocol of kind plain_random needs test_fraction or test_cases, and not both"
            )
        if self.kind == "side_folds" and len(self.sides or []) < 2:
            raise ValueError("a protocol of kind side_folds needs at least two sides")
        if self.kind == "official" and "train" not in self.roles.values():
            raise ValueError("roles names no side whose role is train")
        if self.held_out == "val" and self.validation_fraction:
            raise ValueError("held_out is val already: leave out validation_fraction")
        return self

    @model_validator(mode="after")
    def _published_has_a_source(self) -> "Protocol":
        if self.published and not self.source:
            raise ValueError("a published protocol needs a source: who published it, and where")
        return self

    @model_validator(mode="after")
    def _keep_is_a_name(self) -> "Protocol":
        if self.keep is not None and ("/" in self.keep or "\\" in self.keep or self.keep.startswith(".")):
            raise ValueError(f"keep is {self.keep!r}: give the name of a file that lies in config/datasets")
        return self

    @property
    def fold_count(self) -> int:
        """Number of folds: repetitions count as folds."""
        if self.kind == "side_folds":
            return len(self.sides or [])
        return self.folds or self.repeats

    @property
    def asked_roles(self) -> tuple[Role, ...]:
        """The roles that must have a case in every fold."""
        asked = set(self.roles.values()) if self.kind == "official" else {"train", self.held_out}
        if self.validation_fraction or self.validation_cases:
            asked.add("val")
        return tuple(role for role in ("train", "val", "test") if role in asked)

    @property
    def words(self) -> str:
        """The protocol in words, for tables and pages."""
        return f"{self._kind_in_words()}{self._draw_in_words()}{self._part_in_words()}"

    def _kind_in_words(self) -> str:
        held = "tests" if self.held_out == "test" else "validates and is scored"
        match self.kind:
            case "grouped_random":
                return f"random split of whole groups, {self.test_fraction:.3g} of the cases test"
            case "k_fold":
                return f"{self.folds} folds of whole groups, each tests once"
            case "last_n":
                return (
                    f"the last {self.test_cases} of the sorted cases test, {self.validation_cases} validate"
                )
            case "plain_k_fold":
                order = "consecutive" if self.shuffle_seed is None else "shuffled"
                return f"{self.folds} folds of {order} cases, groups not kept together, each fold {held} once"
            case "plain_random":
                share = f"{self.test_fraction:.3g}" if self.test_fraction else f"{self.test_cases}"
                return f"random split of single cases, groups not kept together: {share} of them {held}"
            case "official":
                return "the owner's sides: " + ", ".join(
                    f"{side} is {role}" for side, role in self.roles.items()
                )
        return f"the owner's sides {', '.join(self.sides or [])}, each {held} once"

    def _draw_in_words(self) -> str:
        found = ""
        if self.validation_fraction:
            found += f", {self.validation_fraction:.3g} of the others validate"
        if self.repeats > 1:
            found += f", repeated {self.repeats} times"
        if self.kind in GROUPED:
            found += ", stratified by class and lesion size" if self.stratify else ", not stratified"
            found += f", seed {self.seed}"
        elif self.shuffle_seed is not None:
            found += f", shuffled by {self.shuffle} with seed {self.shuffle_seed}"
        return found + (f", cases of {self.keep} kept where they were" if self.keep else "")

    def _part_in_words(self) -> str:
        found = f"; groups {', '.join(self.groups)} only" if self.groups else ""
        if self.sides and self.kind != "side_folds":
            found += f"; cases of {', '.join(self.sides)} only"
        if self.subset:
            found += f"; {self.subset} of the cases only, those whose names have the least hashes"
        return found
