"""MetaImage and NRRD headers, judged before the file is opened.

The library that reads them takes missing or damaged compressed voxels for zeros, follows a header to a file
anywhere on the machine, and lets sheared and negative axes pass.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segtrace.errors import SegtraceError
from segtrace.headers import BLOCK, REMEDY, check_length, count, inflated_length

#: A text header is not longer than this, in bytes.
MAX_HEADER_BYTES = 1 << 20
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_NRRD_BYTES = {
    **dict.fromkeys(["signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"], 1),
    **dict.fromkeys(["short", "short int", "signed short", "signed short int", "int16", "int16_t"], 2),
    **dict.fromkeys(["ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"], 2),
    **dict.fromkeys(
        ["int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"], 4
    ),
    **dict.fromkeys(["longlong", "long long", "long long int", "signed long long", "int64", "int64_t"], 8),
    **dict.fromkeys(["signed long long int", "ulonglong", "unsigned long long", "uint64", "uint64_t"], 8),
    **dict.fromkeys(["unsigned long long int", "double"], 8),
    "float": 4,
}


def _voxels(sizes: list[int], width: int) -> int:
    return int(np.prod(sizes, dtype=object)) * width


def _rest(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as handle:
        handle.seek(start)
        while block := handle.read(BLOCK):
            yield block


def _check_rank(path: Path, sizes: list[int]) -> None:
    if not 2 <= len(sizes) <= 4:
        raise SegtraceError(
            f"{path}: {len(sizes)} dimensions {sizes}; an image has 2 or 3, or 4 with channels; convert it"
        )


def check_metaimage(path: Path) -> None:
    """Judge a ``.mha``, or a ``.mhd`` with the file of voxels beside it."""
    with path.open("rb") as handle:
        data = handle.read(MAX_HEADER_BYTES)
    marker = data.find(b"ElementDataFile")
    end = data.find(b"\n", marker)
    if marker < 0 or end < 0:
        raise SegtraceError(f"{path}: not a MetaImage (no line 'ElementDataFile'); {REMEDY}")
    lines = data[:end].decode("ascii", "replace").splitlines()
    keys = {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines)}
    sizes = count(keys.get("DimSize", ""), path=path, key="DimSize")
    _check_rank(path, sizes)
    kind = keys.get("ElementType", "").removeprefix("MET_")
    width = _META_BYTES.get(kind) or _META_BYTES.get(kind.removeprefix("U"))
    if width is None:
        raise SegtraceError(
            f"{path}: ElementType is {keys.get('ElementType')!r}, which is not read; convert it"
        )
    _check_spacing(path, keys)
    if keys.get("BinaryData", "True").lower() == "false" or keys.get("HeaderSize", "0") != "0":
        raise SegtraceError(f"{path}: voxels as text or behind another header are not read; convert it")
    file = keys["ElementDataFile"]
    local = file.upper() == "LOCAL"
    if local != (path.suffix.lower() == ".mha") or (not local and (Path(file).name != file or " " in file)):
        raise SegtraceError(
            f"{path}: its voxels are said to lie in {file!r}; a .mha holds them itself, "
            "a .mhd names one file in its own folder; convert it"
        )
    holder = path if local else path.parent / file
    if not holder.is_file():
        raise SegtraceError(f"{holder}: no such file; {path} says that its voxels lie there")
    start = end + 1 if local else 0
    channels = count(keys.get("ElementNumberOfChannels", "1"), path=path, key="ElementNumberOfChannels")[0]
    announced = _voxels(sizes, width * channels)
    if keys.get("CompressedData", "False").lower() == "true":
        found = inflated_length(_rest(holder, start), path=holder, gzipped=False, limit=announced)
    else:
        found = holder.stat().st_size - start
    check_length(holder, found=found, announced=announced, what=" of voxels")


def _check_spacing(path: Path, keys: dict[str, str]) -> None:
    for key in ("ElementSpacing", "ElementSize"):
        try:
            values = [float(part) for part in keys.get(key, "1").split()]
        except ValueError:
            values = []
        if not values or not all(0 < value < np.inf for value in values):
            raise SegtraceError(f"{path}: {key} is {keys[key]!r}; each must be above 0; {REMEDY}")


def check_nrrd(path: Path) -> None:
    """Judge a ``.nrrd`` that holds its own voxels, raw or gzip-compressed."""
    with path.open("rb") as handle:
        data = handle.read(MAX_HEADER_BYTES)
    end = min((n + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (n := data.find(mark)) >= 0), default=-1)
    if not data.startswith(b"NRRD000") or end < 0:
        raise SegtraceError(f"{path}: not an NRRD file (no mark, or no end of the header); {REMEDY}")
    lines = data[:end].decode("ascii", "replace").splitlines()
    pairs = (line.partition(": ") for line in lines if ": " in line and not line.startswith("#"))
    keys = {key.strip().lower().replace(" ", ""): value.strip() for key, _, value in pairs}
    sizes = count(keys.get("sizes", ""), path=path, key="sizes")
    _check_rank(path, sizes)
    width = _NRRD_BYTES.get(keys.get("type", ""))
    if width is None:
        raise SegtraceError(f"{path}: type is {keys.get('type')!r}, which is not read; convert it")
    if "datafile" in keys or any(keys.get(key, "0") != "0" for key in ("byteskip", "lineskip")):
        raise SegtraceError(f"{path}: its voxels lie in another file or behind another header; convert it")
    if len(sizes) > 2 and "space" not in keys:
        raise SegtraceError(
            f"{path}: no field 'space', so where it lies in the patient, left and right included, is not known; "
            "set it from the source of the file"
        )
    announced = _voxels(sizes, width)
    encoding = keys.get("encoding", "")
    if encoding in ("gzip", "gz"):
        found = inflated_length(_rest(path, end), path=path, gzipped=True, limit=announced)
    elif encoding == "raw":
        found = path.stat().st_size - end
    else:
        raise SegtraceError(f"{path}: encoding is {encoding!r}; raw and gzip are read; convert it")
    check_length(path, found=found, announced=announced, what=" of voxels")
