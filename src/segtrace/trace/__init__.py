"""Trust: what every output was made from, whether that still holds, and the way back from a number to its bytes.

The floor is what several rooms or the phases use: ``jobs`` (what there is to make), ``identity`` (what each is made
from), ``record`` (that, written beside the output), ``check`` (what no longer holds) and ``changes`` (down to keys and
files); ``cells`` and ``dotted`` (a row or a value as the command line names it), ``raw`` (checksums of raw files);
``tools`` and ``aside``. ``status``, ``sync``, ``pin`` and ``stage`` are commands of one module each. The others have
a room of their own, with its ``command``: ``explain``, ``why``, ``reproduce``, ``export``, ``doctor``.
"""
