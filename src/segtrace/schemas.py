"""The form of every table: columns in order, types, and what may stand in a cell."""

from segtrace.columns import METRICS as METRICS
from segtrace.schemas_of_cases import CHAIN
from segtrace.schemas_of_results import RESULTS

#: Name of a table → its form.
SCHEMAS = CHAIN | RESULTS
