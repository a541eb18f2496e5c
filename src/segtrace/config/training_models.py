"""``config/training``: optimiser, schedule, sampling, augmentation and inference of a paper and data set."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from segtrace.config.types import FactorRange, Fraction, Model, distinct, three


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
        list[NonNegativeFloat], BeforeValidator(three), Field(min_length=3, max_length=3)
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
    mirror: Annotated[list[NonNegativeInt], AfterValidator(distinct)] = []
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
    devices: PositiveInt = 1
    """Devices that train a run together, each step's samples shared among them; part of a run's identity."""
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
        if self.optimiser == "sgd" and self.betas != [0.9, 0.999]:
            raise ValueError("betas are for optimiser adamw, adam or nadam, not sgd")
        if self.optimiser != "sgd" and self.momentum != 0.9:
            raise ValueError(f"momentum is for optimiser sgd, not {self.optimiser}, whose betas[0] it is")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> "Training":
        schedule = self.schedule
        if schedule.minimum > self.learning_rate:
            raise ValueError(
                f"schedule.minimum {schedule.minimum} is above learning_rate {self.learning_rate}"
            )
        if schedule.period_epochs is not None and schedule.kind != "cosine":
            raise ValueError(f"schedule.period_epochs is for kind cosine, not {schedule.kind}")
        if schedule.hold_epochs and schedule.kind != "linear":
            raise ValueError(f"schedule.hold_epochs is for kind linear, not {schedule.kind}")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> "Training":
        crops = self.cases_per_step * (self.crop.per_case if self.crop else 1)
        if self.accumulate > crops:
            raise ValueError(f"accumulate is {self.accumulate}, but a step has {crops} crops")
        return self
