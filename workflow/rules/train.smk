"""train: one job a run. A killed training goes on where its last resumable state was written.

It is tried three times, or more where the profile has more retries: a training that was killed, or ran out of memory and may divide its steps, goes on; any
other failure ends a later attempt at once with the message of the first.
"""


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
    retries: retries(2)
    conda:
        CONDA
    # The number of training threads, those of each device, is part of the run and the same whatever --cores is.
    threads: lambda wildcards: run_threads(wildcards) * run_devices(wildcards)
    resources:
        gpu=lambda wildcards: run_devices(wildcards) if GPUS else 0,
        mem_mb=growing(8000),
        runtime=growing(1440),
        # Params know nothing of attempts; resources do.
        attempt_number=lambda wildcards, attempt: attempt,
    params:
        data=data("train"),
        config=configuration("train"),
        code=code("train"),
        environment=ENVIRONMENT,
        held=held("train"),
        training_threads=run_threads,
        determinism=CONFIG.determinism,
    # exec: no shell in between that a scheduler's SIGTERM would end before the training has written its state
    shell:
        "exec segtrace train {wildcards.run} --threads {params.training_threads} --determinism {params.determinism}"
        " --attempt {resources.attempt_number} --gpus {resources.gpu} > {log} 2>&1"
