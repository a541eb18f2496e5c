"""What intervals of a mean cover: simulated samples of Dice-like values, of which the true mean is known.

    .venv/bin/python benchmarks/intervals.py [--repetitions 4000] [--seed 0] [--write docs/results/intervals.md]

Each population is drawn ``--repetitions`` times at every sample size, and each sample is given the intervals that
``segtrace compare`` gives a mean (10,000 bootstrap samples). An interval covers if the population's mean lies in it.
The warning is that of ``segtrace.samples.too_small``.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrace import bootstrap, samples
from segtrace.files import write_text

SIZES = (5, 10, 20, 30, 50, 60, 120)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Beta-distributed values, of which a share has failed: uniform between 0 and ``worst``."""

    alpha: float
    beta: float
    failures: float = 0.0
    worst: float = 0.0

    def name(self) -> str:
        told = f"Beta({self.alpha:g}, {self.beta:g})"
        if not self.failures:
            return told
        between = f"between 0 and {self.worst:g}" if self.worst else "at 0"
        return f"{told}, {self.failures:.0%} {between}"

    def mean(self) -> float:
        return (1 - self.failures) * self.alpha / (self.alpha + self.beta) + self.failures * self.worst / 2

    def draw(self, generator: np.random.Generator, shape: tuple[int, int]) -> Array:
        failed = generator.random(shape) < self.failures
        return np.where(
            failed, self.worst * generator.random(shape), generator.beta(self.alpha, self.beta, shape)
        )


POPULATIONS = (
    Population(4, 2),
    Population(8, 1.5),
    Population(20, 2),
    Population(30, 1.5),
    Population(8, 1.5, failures=0.15, worst=0.3),
    Population(20, 2, failures=0.10),
    Population(20, 2, failures=0.05),
    Population(20, 2, failures=0.02),
)


def share(chosen: NDArray[np.bool_], among: NDArray[np.bool_]) -> str:
    """Share of ``chosen`` in ``among`` as text; a dash where those are fewer than 100."""
    return f"{chosen[among].mean():.3f}" if among.sum() >= 100 else "–"


def row(population: Population, cases: int, *, repetitions: int, seed: int) -> str:
    """A line of the table: what the intervals of one population and sample size cover."""
    generator = np.random.default_rng([seed, POPULATIONS.index(population), cases])
    values = population.draw(generator, (cases, repetitions))
    found, centre = bootstrap.bounds(values), population.mean()
    held = (found.bca_low <= centre) & (centre <= found.bca_high)
    plain = (found.percentile_low <= centre) & (centre <= found.percentile_high)
    told = np.array([bool(samples.too_small(column)) for column in values.T.tolist()])
    everywhere = np.ones(repetitions, dtype=bool)
    return (
        f"| {population.name()} | {cases} | {share(held, everywhere)} | {share(plain, everywhere)} "
        f"| {told.mean():.3f} | {share(held, told)} | {share(held, ~told)} |"
    )


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description="Simulate what intervals of a mean cover.")
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# What intervals of a mean cover",
        "",
        f"`python benchmarks/intervals.py --repetitions {arguments.repetitions} --seed {arguments.seed}`, "
        f"{datetime.datetime.now(datetime.UTC).date()}, {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, NumPy {np.__version__}. {arguments.repetitions} samples a line, "
        f"{samples.SAMPLES} bootstrap samples each; nominal coverage 0.95, with a standard error of "
        f"{(0.95 * 0.05 / arguments.repetitions) ** 0.5:.4f}.",
        "",
        "| population | cases | BCa covers | percentile covers | warning fires | BCa where it fires | BCa where not |",
        "|---|---|---|---|---|---|---|",
    ]
    for population in POPULATIONS:
        for cases in SIZES:
            lines.append(row(population, cases, repetitions=arguments.repetitions, seed=arguments.seed))
            say(lines[-1])
    lines += [
        "",
        f"The warning fires below {samples.FEWEST} cases, and where the squared skewness of the sample times "
        f"{samples.PER_SQUARED_SKEWNESS} exceeds their number. It cannot see failures that a sample does not hold: "
        "where they are so rare that many samples have none, it stays silent in those, and they do not cover.",
    ]
    if arguments.write:
        write_text(arguments.write, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
