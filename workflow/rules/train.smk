"""train: one job a run. A killed training goes on where its last resumable state was written."""


rule train:
    """Train one run: data set, recipe, protocol, method, budget, fold, seed."""
    input:
        split=ancient(split_of),
        prepared=ancient(prepared_of),
    output:
        weights="checkpoints/{run}/weights.safetensors",
        best="checkpoints/{run}/best_val.safetensors",
        history="checkpoints/{run}/history.csv",
        run="checkpoints/{run}/run.json",
    log:
        "logs/train/{run}.log",
    benchmark:
        "logs/benchmark/train/{run}.tsv"
    conda:
        CONDA
    # The number of training threads is part of the run and the same whatever --cores is.
    threads: run_threads
    resources:
        gpu=min(1, GPUS),
        mem_mb=growing(8000),
        runtime=growing(1440),
    params:
        data=data("train"),
        config=configuration("train"),
        code=code("train"),
        environment=ENVIRONMENT,
        held=held("train"),
        training_threads=run_threads,
        determinism=CONFIG.determinism,
    shell:
        "segtrace train {wildcards.run} --threads {params.training_threads} --determinism {params.determinism} > {log} 2>&1"
