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
        data=prediction_digest,
        config=run_digest,
        code=run_code("predict"),
        environment=ENVIRONMENT,
        repairs=predict_repairs,
    shell:
        "( segtrace predict {wildcards.run} {wildcards.variant}"
        " && python -m segtrace.upkeep {output.table} {params.repairs} ) > {log} 2>&1"
