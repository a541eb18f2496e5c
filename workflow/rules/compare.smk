"""compare: the tables of one experiment."""


rule compare:
    """Make an experiment's tables from the scores of its runs."""
    input:
        scores=lambda wildcards: experiment_files(
            wildcards.experiment, "scores/{run}/{variant}.csv"
        ),
    output:
        summary="results/{experiment}/summary.csv",
        cases="results/{experiment}/per_case.csv",
        metrics="results/{experiment}/metrics.json",
    log:
        "logs/compare/{experiment}.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        config=experiment_digest,
        code=lambda wildcards: digests.code_digest("compare"),
        environment=ENVIRONMENT,
        budget=CONFIG.budget,
        seeds=SEEDS,
    shell:
        "segtrace compare {wildcards.experiment} --budget {params.budget} --seeds {params.seeds} > {log} 2>&1"
