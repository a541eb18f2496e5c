"""Paired comparisons: values by hand, laws, and agreement with SciPy, statsmodels and full enumeration."""

import numpy as np

from segtrace.aggregation import CaseValue, paired_matrix


def cells_of(label=1, metric="dice", **methods):
    """Cells of one label and metric: method → values, in the order of cases c0, c1, …; None: no value."""
    return {
        (method, label, metric): [
            CaseValue(method=method, case=f"c{i:03}", label=label, metric=metric, value=value)
            for i, value in enumerate(values)
        ]
        for method, values in methods.items()
    }


def test_cases_without_a_value_of_both_are_left_out_and_counted():
    cells = cells_of(metric="precision", a=[0.5, None, 0.7, None], b=[0.4, 0.9, None, None])
    cases, values, dropped = paired_matrix(cells, methods=["a", "b"], label=1, metric="precision")
    assert (cases, values.tolist(), dropped) == (["c000"], [[0.5, 0.4]], 3)


def test_two_empty_masks_are_a_distance_of_0_if_the_rival_has_one():
    cells = cells_of(metric="hd95_mm", a=[None, 3.0, None], b=[50.0, 4.0, None], c=[None, 5.0, None])
    cases, values, dropped = paired_matrix(cells, methods=["a", "b"], label=1, metric="hd95_mm")
    assert (cases, values.tolist(), dropped) == (["c000", "c001"], [[0.0, 50.0], [3.0, 4.0]], 1)
    cases, values, dropped = paired_matrix(cells, methods=["a", "c"], label=1, metric="hd95_mm")
    assert (cases, values.tolist(), dropped) == (["c001"], [[3.0, 5.0]], 2)


def test_no_cases_are_an_empty_matrix():
    cases, values, dropped = paired_matrix({}, methods=["a", "b"], label=1, metric="dice")
    assert (cases, values.shape, dropped) == ([], (0, 2), 0)
    assert values.dtype == np.float64
