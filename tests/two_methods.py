"""A configuration of two methods on a toy data set, for commands that read it."""

from pathlib import Path

from segtrace import files


def write(labels: str, *, published: str = "") -> None:
    """Write ``config`` into the present folder; ``labels`` as in YAML, ``published`` is the experiment's block."""
    texts = {
        "config.yaml": "experiments: [toy]\n",
        "datasets/toy.yaml": f"title: T\ndimensions: 2\nmodality: x\nlicence: none\nlabels: {labels}\n"
        "channels: [g]\nrecipes: {r: {}}\n"
        "protocols: {p: {kind: grouped_random, test_fraction: 0.2, validation_fraction: 0.1}}\n",
        "methods/a.yaml": "title: A\nnetwork: unet\n",
        "methods/b.yaml": "title: B\nnetwork: unet\n",
        "training/t.yaml": "epochs: 1\nlearning_rate: 0.1\n",
        "budgets/smoke.yaml": "title: smoke\n",
        "papers/p.yaml": "title: P\nauthors: [A]\n",
        "experiments/toy.yaml": "title: Toy\ndataset: toy\nrecipe: r\nprotocol: p\ntraining: t\n"
        f"methods: [a, b]\n{published}",
    }
    for name, text in texts.items():
        files.write_text(Path("config") / name, text)
