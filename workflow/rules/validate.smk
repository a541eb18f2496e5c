"""validate: the prepared masks against the raw ones, and the gate that `split` waits for."""


checkpoint validate:
    """Judge prepared masks: labels kept, volumes, components, alignment."""
    input:
        tables=batch_tables,
        cases=ancient(cases_of),
    output:
        prepared="data/prepared/{dataset}/{recipe}/prepared.csv",
        checks="data/prepared/{dataset}/{recipe}/mask_checks.csv",
        gate="data/prepared/{dataset}/{recipe}/gate.json",
    log:
        "logs/validate/{dataset}/{recipe}.log",
    benchmark:
        "logs/benchmark/validate/{dataset}/{recipe}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        data=data("validate"),
        config=configuration("validate"),
        code=code("validate"),
        environment=ENVIRONMENT,
        held=held("validate"),
    shell:
        "segtrace validate {wildcards.dataset} {wildcards.recipe} --workers {threads} > {log} 2>&1"
