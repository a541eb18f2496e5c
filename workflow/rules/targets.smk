"""Targets: everything that the configuration asks for, up to a phase. The stages of dvc.yaml call these."""


rule index_all:
    """Everything up to index."""
    input:
        final_output("index"),


rule prepare_all:
    """Everything up to prepare and validate."""
    input:
        final_output("validate"),


rule split_all:
    """Everything up to split."""
    input:
        final_output("split"),


rule train_all:
    """Everything up to train."""
    input:
        final_output("train"),


rule predict_all:
    """Everything up to predict."""
    input:
        final_output("predict"),


rule score_all:
    """Everything up to score."""
    input:
        final_output("score"),


rule compare_all:
    """Everything up to compare."""
    input:
        final_output("overview"),
