"""prepare: cases oriented, resampled and normalised, in batches that a case never leaves.

A batch's declared output is its table, marked `update` so that a job redoes only the cases whose
digest no longer holds. The arrays are named in the table; `repairs` reruns the job if one is missing.
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
        data=batch_digest,
        config=part_digest("recipes", "recipe"),
        code=reader_code("prepare"),
        environment=ENVIRONMENT,
        repairs=prepare_repairs,
        number=lambda wildcards: int(wildcards.batch),
    shell:
        "( segtrace prepare {wildcards.dataset} {wildcards.recipe} --batch {params.number} --workers {threads}"
        " && python -m segtrace.upkeep {output.table} {params.repairs} ) > {log} 2>&1"
