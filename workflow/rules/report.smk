"""report: one page an experiment, that opens from disk, and its figures for `snakemake --report`."""


rule report:
    """Make an experiment's page."""
    input:
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
        histories=lambda wildcards: experiment_files(
            wildcards.experiment, "checkpoints/{run}/history.csv"
        ),
        predictions=lambda wildcards: experiment_files(
            wildcards.experiment, "predictions/{run}/{variant}/predictions.csv"
        ),
        gates=gates_of_experiment,
    output:
        **{kind: figures(kind) for kind in figure_files.KINDS},
        page=report(
            "reports/{experiment}/index.html",
            caption="../report/experiment.rst",
            category="Experiments",
            labels={"experiment": "{experiment}"},
        ),
    log:
        "logs/report/{experiment}.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        config=configuration("report"),
        code=code("report"),
        environment=ENVIRONMENT,
        held=held("report"),
        budget=CONFIG.budget,
        seeds=SEEDS,
    shell:
        "segtrace report {wildcards.experiment} --budget {params.budget} --seeds {params.seeds} > {log} 2>&1"
