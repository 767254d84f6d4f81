"""What a file is: by its name, by the configuration, and by its own first bytes."""

from __future__ import annotations

from pathlib import PurePath
from types import MappingProxyType

from assets.errors import ConfigurationError, DataError

SUFFIXES = MappingProxyType(
    {
        ".csv": "csv",
        ".tsv": "tsv",
        ".tab": "tsv",
        ".json": "json",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".parquet": "parquet",
        ".arrow": "arrow",
        ".arrows": "arrow",
        ".feather": "arrow",
        ".ipc": "arrow",
    }
)
COMPRESSED = (".gz", ".zst")
"""Endings of compressed files; the ending before tells the format."""
NAMES = MappingProxyType(
    {
        "csv": "CSV",
        "tsv": "TSV",
        "json": "JSON",
        "jsonl": "JSON Lines",
        "parquet": "Parquet",
        "arrow": "Arrow",
        "label_studio": "Label Studio's JSON",
    }
)

# First bytes of what is often given a wrong ending; any other binary file is told by its NUL characters.
SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV in UTF-8"),
    (b"\x1f\x8b", "compressed by gzip a second time", "unpack it once: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd a second time", "unpack it once: unzstd FILE"),
    (b"FEA1", "a Feather file of version 1", "write it again as version 2, or as Parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
)


def format_of(name: str, configured: str) -> str:
    """Format of a file, one of `NAMES`.

    Raises:
        ConfigurationError: the format is left to the ending, and the ending is none that is known.
    """
    if configured != "auto":
        return configured
    path = PurePath(name)
    suffix = (PurePath(path.stem) if path.suffix.lower() in COMPRESSED else path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigurationError(
            f"the ending {suffix!r} does not tell the format; known endings: {', '.join(SUFFIXES)}, "
            f"each also with {' or '.join(COMPRESSED)}",
            where=name,
            fix=f"set source.format to one of {', '.join(NAMES)}, or rename the file",
        )
    return SUFFIXES[suffix]


def refuse_impostor(name: str, data: bytes, form: str) -> None:
    """Refuse a file that is empty or plainly something else than its format.

    Raises:
        DataError: saying what the file is instead, and what to do.
    """
    if not data:
        raise DataError("the file is empty", where=name, fix="put rows in it, or take it out of source.files")
    if form in {"parquet", "arrow"}:
        if not (_is_parquet(data) if form == "parquet" else _is_arrow(data)):
            raise _impostor(name, form, *_guess(data))
        return
    if any(data.startswith(magic) for magic, _, _ in SIGNATURES) or _is_parquet(data) or _is_arrow(data):
        raise _impostor(name, form, *_guess(data))
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _impostor(name, form, "a web page or XML", "download the data file itself, not the page that shows it")
    if form == "jsonl" and start.startswith(b"["):
        raise _impostor(name, form, "one JSON array", "set source.format: json, or name it .json")
    if form in {"json", "label_studio"} and start.startswith(b"{"):
        what = "JSON Lines, or one object and not an array of them"
        raise _impostor(name, form, what, "set source.format: jsonl if each line is an object")
    if form in {"csv", "tsv"} and start.startswith((b'{"', b'[{"')):
        raise _impostor(name, form, "JSON", "set source.format: jsonl if each line is an object, else json")


def _guess(data: bytes) -> tuple[str, str]:
    """What bytes that are not what they should be are, and what to do."""
    if _is_parquet(data):
        return "a Parquet file", "set source.format: parquet, or name it .parquet"
    if _is_arrow(data):
        return "an Arrow file", "set source.format: arrow, or name it .arrow"
    if data.startswith((b"PAR1", b"ARROW1")):
        return "cut off in the middle", "fetch or write the file again"
    for magic, what, fix in SIGNATURES:
        if data.startswith(magic):
            return what, fix
    if b"\0" in data[:4096]:
        return "some binary file", "name the right file"
    beginning = data[:40].decode("utf-8", "replace")
    return f"text that begins with {beginning!r}", "set source.format to what it is, or rename it"


def _is_parquet(data: bytes) -> bool:
    return data.startswith(b"PAR1") and data.endswith(b"PAR1")


def _is_arrow(data: bytes) -> bool:
    """Whether bytes are an Arrow file, or seem to be a stream: its first message has a length that is no text."""
    if data.startswith(b"ARROW1\0\0"):
        return data.endswith(b"ARROW1")
    return data.startswith(b"\xff\xff\xff\xff") and data[6:8] == b"\0\0"


def _impostor(name: str, form: str, what: str, fix: str) -> DataError:
    return DataError(f"the file is taken for {NAMES[form]}, but it is {what}", where=name, fix=fix)
