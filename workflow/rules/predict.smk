"""predict: the cases of one role of a run, back on their native grid.

The table is the declared output, marked `update`: a case whose digest holds is not segmented again.
"""


rule predict:
    """Segment the cases of one role of a run."""
    input:
        weights=lambda wildcards: f"checkpoints/{wildcards.run}/"
        + {"last": "weights", "best_val": "best_val"}[
            layout.parse_variant(wildcards.variant).checkpoint
        ]
        + ".safetensors",
        run="checkpoints/{run}/run.json",
        split=ancient(split_of),
        prepared=ancient(prepared_of),
    output:
        table=update("predictions/{run}/{variant}/predictions.csv"),
    log:
        "logs/predict/{run}/{variant}.log",
    benchmark:
        "logs/benchmark/predict/{run}/{variant}.tsv"
    conda:
        CONDA
    threads: run_threads
    resources:
        gpu=min(1, GPUS),
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        data=data("predict"),
        config=configuration("predict"),
        code=code("predict"),
        environment=ENVIRONMENT,
        held=held("predict"),
        training_threads=run_threads,
    shell:
        "segtrace predict {wildcards.run} {wildcards.variant} --threads {params.training_threads}"
        " --gpus {resources.gpu} > {log} 2>&1"
