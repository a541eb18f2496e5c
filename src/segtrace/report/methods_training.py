"""The methods text of networks, training and inference."""

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segtrace import layout, losses, parameters
from segtrace.config import load, models, runs
from segtrace.report import citations
from segtrace.report.prose import Paragraph, cite, counted, listed, sentence
from segtrace.report.subject import Subject

_OPTIMISERS = {"adamw": "AdamW", "adam": "Adam", "nadam": "NAdam", "sgd": "stochastic gradient descent"}


def training_of(subject: Subject) -> models.Training:
    """The training recipe as the budget has it."""
    return runs.training_under(subject.experiment.training, subject.budget_name)


def architectures(subject: Subject) -> Paragraph:
    """The networks: what each is, its options, its parameters, its framework and its source."""
    sentences = []
    for name, method in subject.methods.items():
        weights = parameter_count(subject, name, method)
        sizes = f", {weights / 1e6:.3g} million parameters" if weights else ""
        options = f", {_options(method.options)}" if method.options else ""
        framework = (
            f", trained in the framework {method.framework.replace('_', ' ')}" if method.framework else ""
        )
        more = f" ({_options(method.framework_options)})" if method.framework_options else ""
        files = listed(f"{given.file} (SHA-256 {given.sha256[:12]}…)" for given in method.pretrained)
        start = f", its first weights from {files} as far as they fit" if files else ""
        sentences.append(
            f"{method.title} is the network {method.network}{options}{sizes}"
            f"{framework}{more}{start}"
            f"{cite(citations.method(name, method))}"
        )
    return Paragraph("Networks", [sentence(text) for text in sentences])


def _options(options: Mapping[str, Any]) -> str:
    return listed(f"{key.replace('_', ' ')} {_value(value)}" for key, value in options.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + listed(f"{key} {_value(item)}" for key, item in value.items()) + ")"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameter_count(subject: Subject, name: str, method: models.Method) -> int | None:
    """Number of learned parameters: as configured, else counted in a run's weights; None where neither is there."""
    if subject.experiment.dataset in method.parameters:
        return method.parameters[subject.experiment.dataset]
    run = next(run for run in subject.runs if run.method == name)
    path = layout.run(run) / layout.WEIGHTS[subject.variant.checkpoint]
    return parameters.of_weights(path).network if path.is_file() else None


def training(subject: Subject) -> Paragraph:
    """Optimiser, schedule, loss, sampling and augmentation, as trained."""
    told = training_of(subject)
    sentences = [
        _optimiser(told),
        _schedule(told),
        _sampling(told),
        f"the loss was {told.loss.replace('_', ' ')}: {first_line(losses.module_of(told.loss))}"
        + (f" ({_options(told.loss_options)})" if told.loss_options else ""),
        _augmentation(told.augmentation),
    ]
    if told.clip_norm is not None:
        sentences.append(f"Gradients were clipped to norm {told.clip_norm:g}")
    if told.ema_decay is not None:
        sentences.append(f"Weights were averaged over steps with decay {told.ema_decay:g}")
    sentences.append(
        f"Arithmetic was in {told.precision}, and the network was validated every {counted(told.validate_every, 'epoch')}"
        if told.validate_every > 1
        else f"Arithmetic was in {told.precision}, and the network was validated after each epoch"
    )
    recipe: models.Training = load.load("training", subject.experiment.training)
    if recipe.source:
        sentences.append(f"This training recipe ({subject.experiment.training}) follows: {recipe.source}")
    sentences += _other_recipes(subject)
    return Paragraph("Training", [sentence(text) for text in sentences])


def _other_recipes(subject: Subject) -> list[str]:
    """A sentence for each recipe beside the experiment's first: whose it is, and what it changes."""
    told = _flat(training_of(subject).model_dump(exclude={"source", "notes"}))
    sentences = []
    for recipe in subject.experiment.recipes[1:]:
        own = [name for name in subject.methods if subject.experiment.training_of(name) == recipe]
        used = runs.training_under(recipe, subject.budget_name)
        changed = [
            f"{key.replace('_', ' ')} {_value(value)} instead of {_value(told.get(key))}"
            for key, value in _flat(used.model_dump(exclude={"source", "notes"})).items()
            if told.get(key) != value
        ]
        titles = listed(subject.methods[name].title for name in own)
        sentences.append(f"{titles} followed the recipe {recipe}: {listed(changed) or 'the same values'}")
    return sentences


def first_line(module: str) -> str:
    """The first line of a module's documentation, read without importing it."""
    found = find_spec(module)
    if found is None or found.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    line = text.split("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _optimiser(told: models.Training) -> str:
    name = _OPTIMISERS[told.optimiser]
    own = [f"weight decay {told.weight_decay:g}"]
    if told.optimiser == "sgd":
        own.append(f"{'Nesterov ' if told.nesterov else ''}momentum {told.momentum:g}")
    else:
        own.append(f"betas {told.betas[0]:g} and {told.betas[1]:g}")
    own += ["the AMSGrad variant"] if told.amsgrad else []
    rate = f"learning rate {told.learning_rate:g}"
    return f"Networks were trained for {counted(told.epochs, 'epoch')} with {name} ({rate}, {', '.join(own)})"


def _schedule(told: models.Training) -> str:
    plan = told.schedule
    match plan.kind:
        case "constant":
            words = "stayed constant"
        case "step":
            words = f"was multiplied by {plan.gamma:g} every {counted(plan.step_epochs or 0, 'epoch')}"
        case "poly":
            words = f"fell polynomially with power {plan.power:g}"
        case "cosine":
            period = f" with a period of {counted(plan.period_epochs, 'epoch')}" if plan.period_epochs else ""
            words = f"fell by a cosine to {plan.minimum:g}{period}"
        case _:
            hold = f" after {counted(plan.hold_epochs, 'epoch')}" if plan.hold_epochs else ""
            words = f"fell linearly to {plan.minimum:g}{hold}"
    changed = "" if plan.kind == "constant" else f", changed every {plan.every}"
    warm = f", after a linear rise over {counted(plan.warmup_steps, 'step')}" if plan.warmup_steps else ""
    return f"The learning rate {words}{changed}{warm}"


def _sampling(told: models.Training) -> str:
    if told.crop is None:
        return f"A step used {counted(told.cases_per_step, 'whole image')}"
    crop = told.crop
    total = crop.foreground + crop.background
    sides, share = " × ".join(map(str, crop.size)), crop.foreground / total
    return (
        f"A step used {counted(told.cases_per_step, 'case')} with {counted(crop.per_case, 'crop')} of {sides} each, "
        f"centred on foreground with probability {share:.3g}"
    )


def _augmentation(told: models.Augmentation) -> str:
    degrees = listed(dict.fromkeys(f"{value:g}°" for value in told.rotate_degrees))
    known = (
        (told.flip_p, "flips along each axis"),
        (told.rot90_p, "rotations by multiples of 90°"),
        (told.rotate_p, f"rotations within ±{degrees}"),
        (told.zoom_p, f"zoom by {told.zoom[0]:g} to {told.zoom[1]:g}"),
        (told.elastic_p, f"elastic deformation of up to {told.elastic_voxels:g} voxels standard deviation"),
        (told.noise_p, f"Gaussian noise of up to {told.noise:g} standard deviation"),
        (told.gamma_p, f"gamma between {told.gamma[0]:g} and {told.gamma[1]:g}"),
        (told.scale_p, f"intensity scaling within ±{told.scale:g}"),
        (told.shift_p, f"intensity shift within ±{told.shift:g}"),
    )
    used = [f"{words} (probability {chance:g})" for chance, words in known if chance]
    return (
        f"Training samples were augmented by {listed(used)}"
        if used
        else "Training samples were not augmented"
    )


def budget(subject: Subject) -> Paragraph:
    """The budget, what it changes of the published training, and the seeds and folds."""
    name, changed = subject.budget_name, differences(subject)
    if subject.budget.published:
        sentences = [f"Every network was trained as published (budget {name})"]
    else:
        parts = [f"{key} {used} in place of {published}" for key, published, used in changed]
        sentences = (
            [
                f"Trainings were reduced to the budget {name} ({subject.budget.title}), so these numbers are not those of "
                "the published training",
                f"It changes {listed(parts)}",
            ]
            if parts
            else [
                f"The budget {name} ({subject.budget.title}) changes nothing of this recipe; it is not marked as published"
            ]
        )
    seeds, folds = subject.seeds, subject.folds
    sentences.append(
        f"Each network was trained with {counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))}) on "
        f"{counted(len(folds), 'fold')} ({', '.join(map(str, folds))})"
    )
    return Paragraph("Budget", [sentence(text) for text in sentences])


def differences(subject: Subject) -> list[tuple[str, str, str]]:
    """(key in words, published, used) of each value of the training that the budget changes."""
    recipe: models.Training = load.load("training", subject.experiment.training)
    published = _flat(recipe.model_dump(exclude={"source", "notes"}))
    used = _flat(training_of(subject).model_dump(exclude={"source", "notes"}))
    keys = [key for key in dict.fromkeys([*published, *used]) if published.get(key) != used.get(key)]
    return [(key.replace("_", " "), _value(published.get(key)), _value(used.get(key))) for key in keys]


def _flat(values: Mapping[str, Any], *, above: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        made |= _flat(value, above=f"{above}{key} ") if isinstance(value, dict) else {f"{above}{key}": value}
    return made


def inference(subject: Subject) -> Paragraph:
    """How the scored cases were segmented."""
    told, variant = training_of(subject).inference, subject.variant
    crop = training_of(subject).crop
    window = told.window or (crop.size if crop else None)
    if window is None:
        how = "Whole images were segmented at once"
    else:
        weights = "Gaussian" if told.weighting == "gaussian" else "equal"
        sides = " × ".join(map(str, window))
        how = f"Images were segmented in sliding windows of {sides} with overlap {told.overlap:g} and {weights} weights"
    sentences = [how]
    if told.mirror:
        sentences.append(
            f"Predictions were averaged over mirroring along {counted(len(told.mirror), 'axis').replace('axiss', 'axes')}"
        )
    weights = (
        "after the last epoch" if variant.checkpoint == "last" else "that were best on the validation cases"
    )
    sentences.append(f"The weights {weights} were used")
    return Paragraph("Inference", [sentence(text) for text in sentences])
