"""index: one row a case, and the gate that judges the raw masks and the data set as a whole."""


checkpoint index:
    """List a data set's cases with bytes, geometry and masks; stop if any is faulty."""
    input:
        receipt=ancient(receipt_of),
    output:
        cases="data/index/{dataset}/cases.csv",
        gate="data/index/{dataset}/gate.json",
        duplicates="data/index/{dataset}/duplicates.csv",
    log:
        "logs/index/{dataset}.log",
    benchmark:
        "logs/benchmark/index/{dataset}.tsv"
    conda:
        CONDA
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        data=data("index"),
        config=configuration("index"),
        code=code("index"),
        environment=ENVIRONMENT,
        held=held("index"),
    shell:
        "segtrace index {wildcards.dataset} --workers {threads} > {log} 2>&1"
