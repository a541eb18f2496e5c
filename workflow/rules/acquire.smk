"""acquire: archives from a mirror folder or their published addresses, checked and unpacked.

The receipt is the output, never the raw folder: once unpacked, that tree is the user's.
"""


checkpoint acquire:
    """Fetch, check and unpack a data set; embedded ones are generated."""
    output:
        receipt=update("data/raw/{dataset}.receipt.json"),
    log:
        "logs/acquire/{dataset}.log",
    retries: 1
    conda:
        CONDA
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    params:
        config=configuration("acquire"),
        code=code("acquire"),
        held=held("acquire"),
    shell:
        "segtrace acquire {wildcards.dataset} > {log} 2>&1"
