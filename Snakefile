"""segtrace: from published archives to comparison tables and their report.

    snakemake --cores 8 --resources gpu=2                     everything that config/config.yaml asks for
    snakemake --cores 2 --config experiments=hippocampus      one experiment
    snakemake --cores 2 results/hippocampus/summary.csv       one file

Rules are thin: each calls `segtrace <phase>`, which also works by hand.
"""

from snakemake.utils import min_version

min_version("9.25")


include: "workflow/rules/common.smk"


rule all:
    """Every report of the configured experiments."""
    input:
        final_output(),


include: "workflow/rules/acquire.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/validate.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"


onerror:
    make_what_can_be_made()


localrules:
    all,
    index_all,
    prepare_all,
    split_all,
    train_all,
    predict_all,
    score_all,
    compare_all,
    acquire,
    split,
    compare,
    overview,
    report,
