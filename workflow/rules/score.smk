"""score: per case and label, against the references of the data set."""


rule score:
    """Score a variant's predictions per case and label."""
    input:
        predictions="predictions/{run}/{variant}/predictions.csv",
        split=ancient(split_of),
        cases=ancient(cases_of),
    output:
        scores="scores/{run}/{variant}.csv",
    log:
        "logs/score/{run}/{variant}.log",
    benchmark:
        "logs/benchmark/score/{run}/{variant}.tsv"
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        data=data("score"),
        config=configuration("score"),
        code=code("score"),
        environment=ENVIRONMENT,
        held=held("score"),
    shell:
        "segtrace score {wildcards.run} {wildcards.variant} --workers {threads} > {log} 2>&1"
