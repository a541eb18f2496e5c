"""prepare: cases oriented, resampled and normalised, in batches that a case never leaves.

A batch's declared output is its table, marked `update` so that a job redoes only the cases whose
digest no longer holds. The arrays are named in the table; `held` reruns the job if one is not what it was.
They are not declared themselves: Snakemake would copy the whole batch before each update.
"""


rule prepare:
    """Prepare one batch of cases."""
    input:
        cases=ancient(cases_of),
    output:
        table=update("data/prepared/{dataset}/{recipe}/batches/{batch}.csv"),
    log:
        "logs/prepare/{dataset}/{recipe}/{batch}.log",
    benchmark:
        "logs/benchmark/prepare/{dataset}/{recipe}/{batch}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        data=data("prepare"),
        config=configuration("prepare"),
        code=code("prepare"),
        environment=ENVIRONMENT,
        held=held("prepare"),
        number=lambda wildcards: int(wildcards.batch),
    shell:
        "segtrace prepare {wildcards.dataset} {wildcards.recipe} --batch {params.number} --workers {threads}"
        " > {log} 2>&1"
