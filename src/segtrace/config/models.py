"""The configuration's types. Each file under ``config/`` is one of these; unknown keys are refused."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _ordered(ends: Any) -> Any:
    if ends[0] > ends[1]:
        raise ValueError(
            f"a range goes from its least to its greatest value, this one from {ends[0]} to {ends[1]}"
        )
    return ends


def _distinct(values: list[Any]) -> list[Any]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} is given twice")
    return values


def _three(value: Any) -> Any:
    return [value] * 3 if isinstance(value, int | float) else value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
FactorRange = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2), AfterValidator(_ordered)]
WholeRange = Annotated[tuple[int, int], AfterValidator(_ordered)]


class Model(BaseModel):
    """Base of every type here: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- data sets -------------------------------------------------------------------------------------


class Source(Model):
    """One published archive."""

    archive: str
    urls: list[str] = []
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    manual: str | None = None
    """For data behind a registration: what to fetch, where, and where to put it."""


class Intensity(Model):
    """One step of an intensity recipe, applied to each channel of a case."""

    kind: Literal["window", "minmax", "zscore"]
    low: float | None = None
    high: float | None = None
    """``window``: clip to [low, high], then scale to [0, 1]."""
    nonzero: bool = False
    """``zscore``: mean and deviation over non-zero voxels; zeros stay zero."""

    @model_validator(mode="after")
    def _window_has_ends(self) -> "Intensity":
        if self.kind == "window" and (self.low is None or self.high is None or self.low >= self.high):
            raise ValueError(f"a window needs low < high, got low {self.low} and high {self.high}")
        return self


class Recipe(Model):
    """How a data set's cases become arrays."""

    source: str = ""
    orientation: str | None = None
    """Axis code such as RAS for volumes; none for images."""
    spacing_mm: list[PositiveFloat] | None = None
    """Target spacing in (x, y, z) or (x, y); none keeps each case's own."""
    size: list[PositiveInt] | None = None
    """Target size in (x, y[, z]) voxels; the field of view is kept, so spacing follows."""
    image_interpolation: Literal["linear", "bspline"] = "linear"
    antialias: bool = False
    """Smooth an image along axes that become more than 1.5 times coarser; most published pipelines do not."""
    label_interpolation: Literal["nearest", "vote"] = "nearest"
    """``nearest``, or ``vote``: each label's mask resampled linearly, the largest wins."""
    intensity: list[Intensity] = []

    @model_validator(mode="after")
    def _one_target(self) -> "Recipe":
        if self.spacing_mm is not None and self.size is not None:
            raise ValueError("give spacing_mm or size, not both")
        return self


class Protocol(Model):
    """How cases become folds and roles."""

    kind: Literal["last_n", "k_fold", "grouped_random"]
    source: str = ""
    published: bool = False
    """A published protocol is followed even where it lets near-identical cases on both sides; tables say so."""
    groups: list[str] | None = None
    """Use only cases whose ``group`` is one of these (for example benign and malignant)."""
    test_cases: PositiveInt | None = None
    validation_cases: NonNegativeInt | None = None
    shuffle_seed: NonNegativeInt | None = None
    """``last_n``: the last ``test_cases`` of the sorted cases are the test set; the others, shuffled by
    Python's ``random.Random(shuffle_seed)``, give the last ``validation_cases`` to validation."""
    folds: int | None = None
    """``k_fold``: fold k tests on part k."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    validation_fraction: Fraction | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _complete(self) -> "Protocol":
        needed = {
            "last_n": ("test_cases", "validation_cases", "shuffle_seed"),
            "k_fold": ("folds", "validation_fraction"),
            "grouped_random": ("test_fraction", "validation_fraction"),
        }[self.kind]
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise ValueError(f"a protocol of kind {self.kind} needs {', '.join(missing)}")
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"folds is {self.folds}, needs at least 2")
        return self

    @property
    def fold_count(self) -> int:
        """Number of folds: 1 but for ``k_fold``."""
        return self.folds or 1


class Gate(Model):
    """What a data set must look like, judged by ``index`` and ``validate``."""

    cases: WholeRange | None = None
    """Least and greatest number of cases, whole or partial copy."""
    spacing_mm: Range | None = None
    """Range of any axis' spacing."""
    size: WholeRange | None = None
    """Range of any axis' size in voxels."""
    prevalence: dict[int, Range] = {}
    """For each label, the range of the fraction of cases that hold it."""
    empty_masks: Range = (0.0, 0.0)
    """Range of the fraction of cases without any label."""
    max_components: int | None = None
    """Greatest number of connected components of one label."""
    volume_change: float = 0.1
    """Greatest relative change of a label's volume by preparation, for labels of at least 64 voxels."""
    centroid_shift_voxels: float = 1.0
    """Greatest shift of a label's centroid in world space by preparation, in prepared voxels."""


class Dataset(Model):
    """A data set: where it comes from, what is in it, how it is prepared and split."""

    title: str
    reader: str | None = None
    """Module of ``segtrace.datasets``; the data set's own name by default."""
    dimensions: Literal[2, 3]
    modality: str
    licence: str
    licence_url: str = ""
    redistribution: bool = False
    homepage: str = ""
    reference: str = ""
    access: Literal["open", "registration", "embedded"] = "open"
    sources: list[Source] = []
    labels: dict[int, str]
    channels: list[str]
    spacing_known: bool = True
    """False for images without a physical scale: distances are then given in pixels only."""
    nsd_tolerance: NonNegativeFloat | dict[int, NonNegativeFloat] = 1.0
    """Distance up to which surfaces agree (NSD), one for all labels or label → its own: in millimetres, or in
    voxels where ``spacing_known`` is false."""
    exclude: dict[str, str] = {}
    """Case → reason. Excluded cases are listed in the report."""
    options: dict[str, Any] = {}
    """Options of the reader or of the generator."""
    batches: int = Field(default=4, ge=1)
    """Number of batches in which ``prepare`` works."""
    gate: Gate = Gate()
    recipes: dict[str, Recipe]
    protocols: dict[str, Protocol]
    notes: list[str] = []

    @property
    def nsd_tolerances(self) -> dict[int, float]:
        """Label → the tolerance of its surface Dice."""
        given = self.nsd_tolerance
        return {label: given[label] if isinstance(given, dict) else given for label in sorted(self.labels)}

    @model_validator(mode="after")
    def _every_label_has_a_tolerance(self) -> "Dataset":
        if isinstance(self.nsd_tolerance, dict) and set(self.nsd_tolerance) != set(self.labels):
            raise ValueError(
                f"nsd_tolerance is given for labels {sorted(self.nsd_tolerance)}; "
                f"the data set has {sorted(self.labels)}"
            )
        return self

    @model_validator(mode="after")
    def _gate_names_labels(self) -> "Dataset":
        unknown = sorted(set(self.gate.prevalence) - set(self.labels))
        if unknown:
            raise ValueError(
                f"gate.prevalence names labels {unknown}; the data set has {sorted(self.labels)}"
            )
        return self

    @model_validator(mode="after")
    def _targets_have_the_dimensions(self) -> "Dataset":
        for name, recipe in self.recipes.items():
            for key in ("spacing_mm", "size"):
                target = getattr(recipe, key)
                if target is not None and len(target) != self.dimensions:
                    raise ValueError(
                        f"recipes.{name}.{key} is {target}; the data set has {self.dimensions} dimensions"
                    )
        return self

    @model_validator(mode="after")
    def _embedded_is_generated(self) -> "Dataset":
        if self.access == "embedded" and self.sources:
            raise ValueError("an embedded data set is generated: it has no sources")
        return self

    @model_validator(mode="after")
    def _labels_start_at_one(self) -> "Dataset":
        if sorted(self.labels) != list(range(1, len(self.labels) + 1)):
            raise ValueError(f"labels must be 1..n without gaps (0 is background), got {sorted(self.labels)}")
        return self


# --- training --------------------------------------------------------------------------------------


class Schedule(Model):
    """Learning-rate schedule over epochs: constant within one, as papers do, unless ``every`` says step."""

    kind: Literal["constant", "step", "poly", "cosine", "linear"] = "constant"
    every: Literal["epoch", "step"] = "epoch"
    """When the rate changes."""
    step_epochs: PositiveInt | None = None
    """For ``step``: epochs after which the rate is multiplied by ``gamma``."""
    gamma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    power: PositiveFloat = 0.9
    """For ``poly``."""
    period_epochs: PositiveInt | None = None
    """For ``cosine``: half a wave, all epochs by default. Where it is shorter, the rate rises again afterwards."""
    hold_epochs: NonNegativeInt = 0
    """For ``linear``: epochs before the fall to ``minimum`` begins."""
    minimum: NonNegativeFloat = 0.0
    warmup_steps: NonNegativeInt = 0

    @model_validator(mode="after")
    def _step_has_a_length(self) -> "Schedule":
        if self.kind == "step" and self.step_epochs is None:
            raise ValueError("a schedule of kind step needs step_epochs")
        return self


class Crop(Model):
    """Patches for training; without a crop, whole images are used (all of one size)."""

    size: list[PositiveInt]
    """(D, H, W) or (H, W)."""
    per_case: PositiveInt = 1
    foreground: NonNegativeFloat = 1.0
    background: NonNegativeFloat = 0.0
    """Weights of drawing the centre among foreground or among background voxels."""

    @model_validator(mode="after")
    def _draws_from_somewhere(self) -> "Crop":
        if self.foreground + self.background == 0:
            raise ValueError("foreground and background are both 0: no voxel could be a crop's centre")
        return self


class Augmentation(Model):
    """Random changes of a training sample; each ``*_p`` is the probability of applying it.

    Where and how a sample is cut out comes first, then noise, gamma, scale and shift of its intensities.
    """

    flip_p: Fraction = 0.0
    """For each axis on its own."""
    rot90_p: Fraction = 0.0
    """Rotation by k·90°, k in 1..3, in the plane of the last two axes."""
    shift_p: Fraction = 0.0
    shift: NonNegativeFloat = 0.1
    """Add a value uniform in ±shift."""
    scale_p: Fraction = 0.0
    scale: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Multiply by 1 plus a value uniform in ±scale."""
    rotate_p: Fraction = 0.0
    rotate_degrees: Annotated[
        list[NonNegativeFloat], BeforeValidator(_three), Field(min_length=3, max_length=3)
    ] = [
        30.0,
        30.0,
        30.0,
    ]
    """Rotate about each axis (D, H, W) by an angle uniform in ±this; one number stands for all. In 2-D the first counts."""
    zoom_p: Fraction = 0.0
    zoom: FactorRange = [0.7, 1.4]
    """Show the objects larger by a factor uniform between these two."""
    elastic_p: Fraction = 0.0
    elastic_voxels: NonNegativeFloat = 3.0
    """Move voxels by a smooth random field whose standard deviation, in voxels, is uniform between 0 and this."""
    elastic_spacing: Annotated[float, Field(ge=2.0)] = 24.0
    """Distance of the field's control points in voxels."""
    label_interpolation: Literal["nearest", "linear"] = "nearest"
    """Of rotated, zoomed or deformed labels: the nearest voxel's, or that of the largest interpolated share."""
    noise_p: Fraction = 0.0
    noise: NonNegativeFloat = 0.1
    """Add Gaussian noise of a standard deviation uniform between 0 and this."""
    gamma_p: Fraction = 0.0
    gamma: FactorRange = [0.7, 1.5]
    """Raise each channel, scaled to its own range, to a power uniform between these two."""


class Inference(Model):
    """Sliding-window prediction."""

    window: list[PositiveInt] | None = None
    """(D, H, W) or (H, W); the crop's size by default, the whole image without a crop."""
    overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    weighting: Literal["constant", "gaussian"] = "constant"
    batch: PositiveInt = 4
    mirror: Annotated[list[NonNegativeInt], AfterValidator(_distinct)] = []
    """Axes of the window, 0 the first: predictions are averaged over all ways to mirror it along them."""
    skip_empty: bool = False
    """Do not run windows in which each channel holds one value throughout: they are background."""


class Training(Model):
    """Optimiser, schedule, sampling, augmentation: one of a paper and data set."""

    source: str = ""
    notes: list[str] = []
    epochs: int = Field(ge=1)
    cases_per_step: int = Field(default=1, ge=1)
    accumulate: PositiveInt = 1
    """Parts in which a step's crops pass through the network, one after the other; their gradients are added."""
    when_out_of_memory: Literal["stop", "halve"] = "stop"
    """``halve``: the next attempt passes parts of half the size. Not for networks with batch normalisation."""
    crop: Crop | None = None
    optimiser: Literal["adamw", "adam", "nadam", "sgd"] = "adamw"
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    nesterov: bool = False
    """Momentum and Nesterov's form of it are for ``sgd``."""
    betas: Annotated[list[Annotated[float, Field(ge=0.0, lt=1.0)]], Field(min_length=2, max_length=2)] = [
        0.9,
        0.999,
    ]
    amsgrad: bool = False
    """Betas are for ``adamw``, ``adam`` and ``nadam``; amsgrad is for the first two."""
    schedule: Schedule = Schedule()
    clip_norm: PositiveFloat | None = None
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Average the weights over steps with this decay; the averages are validated and saved."""
    augmentation: Augmentation = Augmentation()
    loss: str = "dice_ce"
    loss_options: dict[str, Any] = {}
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = None
    """Mode of ``torch.compile``; where that fails, the network runs as it is, said in one line."""
    cuda_graphs: bool = False
    """Replay a recorded forward and backward pass on a GPU; elsewhere the network runs as it is."""
    threads: PositiveInt | None = None
    """CPU threads of a training by this recipe; ``training_threads`` of config.yaml by default."""
    validate_every: int = Field(default=10, ge=1)
    """Epochs between validations; the last epoch is always validated."""
    inference: Inference = Inference()

    @model_validator(mode="after")
    def _options_have_their_optimiser(self) -> "Training":
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ValueError("nesterov is for optimiser sgd with a momentum")
        if self.amsgrad and self.optimiser not in ("adam", "adamw"):
            raise ValueError(f"amsgrad is for optimiser adam or adamw, not {self.optimiser}")
        if self.compile is not None and self.cuda_graphs:
            raise ValueError(
                "compile and cuda_graphs are both set; compile: reduce-overhead uses graphs of its own"
            )
        crops = self.cases_per_step * (self.crop.per_case if self.crop else 1)
        if self.accumulate > crops:
            raise ValueError(f"accumulate is {self.accumulate}, but a step has {crops} crops")
        return self


class Budget(Model):
    """How much of a published training is run. Part of a run's identity."""

    title: str
    published: bool = False
    """True for ``paper`` alone: nothing is changed."""
    training: dict[str, Any] = {}
    """Keys of a training recipe that this budget replaces, for every recipe."""
    by_training: dict[str, dict[str, Any]] = {}
    """The same for one training recipe by name; it wins over ``training``."""

    @model_validator(mode="after")
    def _published_changes_nothing(self) -> "Budget":
        if self.published and (self.training or self.by_training):
            raise ValueError("a published budget changes nothing: leave out training and by_training")
        return self


class Method(Model):
    """A network with its options, and the framework it is trained in."""

    title: str
    network: str
    options: dict[str, Any] = {}
    framework: str | None = None
    framework_options: dict[str, Any] = {}
    source: str = ""
    parameters: dict[str, int] = {}
    """Data set → published or pinned number of parameters, checked by a test."""
    notes: list[str] = []


class Experiment(Model):
    """One table: data × methods × training × protocol."""

    title: str
    paper: str = ""
    dataset: str
    recipe: str
    protocol: str
    training: str
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]
    folds: (
        Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(_distinct)] | Literal["all"]
    ) = [0]
    role: Literal["test", "val"] = "test"
    grid: Literal["native", "prepared"] = "native"
    checkpoint: Literal["last", "best_val"] = "last"
    notes: list[str] = []


class Config(Model):
    """``config/config.yaml``: what to run."""

    experiments: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]
    budget: str = "smoke"
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(_distinct)] = [0]
    training_threads: int = Field(default=2, ge=1)
    """CPU threads of a training: part of a run's identity, whatever ``--cores`` says."""
    determinism: Literal["strict", "fast"] = "strict"
    """``strict``: the same bits every time. ``fast``: whatever is quickest on a GPU. Part of a run's identity."""
    mirror: str | None = None
    """Folder with archives under their published names; read before any address."""
    tracking: Annotated[list[Literal["tensorboard", "dvclive"]], AfterValidator(_distinct)] = []
    """How trainings can be watched beside their history; no part of a run's identity."""
