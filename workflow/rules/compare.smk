"""compare: the tables of one experiment, and those of all experiments joined."""


rule compare:
    """Make an experiment's tables from the scores of its runs."""
    input:
        scores=lambda wildcards: experiment_files(
            wildcards.experiment, "scores/{run}/{variant}.csv"
        ),
        split=split_gate_of,
        corrupted=lambda wildcards: corrupted_scores_of(wildcards.experiment),
        cases=ancient(cases_of_experiment),
        weights=counted_weights_of,
    output:
        summary="results/{experiment}/summary.csv",
        cases="results/{experiment}/per_case.csv",
        metrics="results/{experiment}/metrics.json",
        intervals="results/{experiment}/intervals.csv",
        aggregates="results/{experiment}/aggregates.csv",
        tests="results/{experiment}/tests.csv",
        ranks="results/{experiment}/ranks.csv",
        published="results/{experiment}/published.csv",
        missing="results/{experiment}/missing.csv",
        subgroups="results/{experiment}/subgroups.csv",
        robustness="results/{experiment}/robustness.csv",
    log:
        "logs/compare/{experiment}.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        config=configuration("compare"),
        code=code("compare"),
        environment=ENVIRONMENT,
        held=held("compare"),
        budget=CONFIG.budget,
        seeds=SEEDS,
    shell:
        "segtrace compare {wildcards.experiment} --budget {params.budget} --seeds {params.seeds} > {log} 2>&1"


rule overview:
    """Join the tables of all configured experiments, for `dvc metrics` and `dvc plots`."""
    input:
        metrics=[f"results/{name}/metrics.json" for name in CONFIG.experiments],
        histories=sorted(
            {
                path
                for name in CONFIG.experiments
                for path in experiment_files(name, "checkpoints/{run}/history.csv")
            }
        ),
    output:
        metrics="results/metrics.json",
        histories="results/histories.csv",
        convergence="results/convergence.csv",
    log:
        "logs/compare/overview.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        config=configuration("overview"),
        code=code("overview"),
        environment=ENVIRONMENT,
        held=held("overview"),
        experiments=",".join(CONFIG.experiments),
        budget=CONFIG.budget,
        seeds=SEEDS,
    shell:
        "segtrace compare --experiments {params.experiments} --budget {params.budget} --seeds {params.seeds}"
        " > {log} 2>&1"
