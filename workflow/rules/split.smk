"""split: cases to folds and roles, once every recipe that is used has passed its gate."""


checkpoint split:
    """Assign cases to folds and roles; stop if a cluster lies on two sides, or the sides are not alike."""
    input:
        gates=gates_of,
        cases=ancient(cases_of),
    output:
        split="data/splits/{dataset}/{protocol}.csv",
        gate="data/splits/{dataset}/{protocol}.gate.json",
    log:
        "logs/split/{dataset}/{protocol}.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        data=data("split"),
        config=configuration("split"),
        code=code("split"),
        environment=ENVIRONMENT,
        held=held("split"),
    shell:
        "segtrace split {wildcards.dataset} {wildcards.protocol} > {log} 2>&1"
