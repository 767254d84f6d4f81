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
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".parquet": "parquet",
    }
)
NAMES = MappingProxyType({"csv": "CSV", "tsv": "TSV", "jsonl": "JSON Lines", "parquet": "Parquet"})

# First bytes of what is often given a wrong ending; any other binary file is told by its NUL characters.
SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV in UTF-8"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it: gunzip FILE"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
)


def format_of(name: str, configured: str) -> str:
    """Format of a file: `csv`, `tsv`, `jsonl` or `parquet`.

    Raises:
        ConfigurationError: the format is left to the ending, and the ending is none that is known.
    """
    if configured != "auto":
        return configured
    suffix = PurePath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigurationError(
            f"the ending {suffix!r} does not tell the format; known endings: {', '.join(SUFFIXES)}",
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
    if form == "parquet":
        if not _is_parquet(data):
            raise _impostor(name, form, *_guess(data))
        return
    if any(data.startswith(magic) for magic, _, _ in SIGNATURES) or _is_parquet(data):
        raise _impostor(name, form, *_guess(data))
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _impostor(name, form, "a web page or XML", "download the data file itself, not the page that shows it")
    if form == "jsonl" and start.startswith(b"["):
        raise _impostor(name, form, "one JSON array", "write one object on each line, without the brackets and commas")
    if form != "jsonl" and start.startswith(b'{"'):
        raise _impostor(name, form, "JSON", "set source.format: jsonl, or name it .jsonl")


def decode(name: str, data: bytes, encoding: str) -> tuple[str, bool]:
    r"""Decode a text file; bytes that are not in the encoding become surrogates (U+DC80–U+DCFF).

    Returns:
        The text without a byte order mark, and whether it holds such surrogates.

    Raises:
        ConfigurationError: no such encoding.
        DataError: the file is binary, in another Unicode encoding, or holds nothing but white space.
    """
    try:
        text, damaged = data.decode(encoding), False
    except LookupError as error:
        raise ConfigurationError(
            f"{encoding!r} is no text encoding",
            where="source.encoding",
            fix="for instance utf-8, cp1252, latin-1, utf-16",
        ) from error
    except UnicodeDecodeError as strict:
        if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise DataError(
                f"the file is UTF-16, not {encoding}", where=name, fix="set source.encoding: utf-16"
            ) from strict
        try:
            text, damaged = data.decode(encoding, "surrogateescape"), True
        except UnicodeDecodeError as error:
            raise DataError(
                f"the file is not {encoding}: {error.reason} at byte {error.start}",
                where=name,
                fix="set source.encoding to the encoding that the file was written in",
            ) from error
    nul = text.find("\0")
    if nul >= 0:
        raise DataError(
            f"the file is binary, not text: line {text.count(chr(10), 0, nul) + 1} has a NUL character",
            where=name,
            fix="name the right file, set source.encoding if it is text in another encoding (utf-16 is full of NULs), "
            "or write the file again without NULs",
        )
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise DataError("the file is empty", where=name, fix="put rows in it, or take it out of source.files")
    return text, damaged


def _guess(data: bytes) -> tuple[str, str]:
    """What bytes that are not what they should be are, and what to do."""
    if _is_parquet(data):
        return "a Parquet file", "set source.format: parquet, or name it .parquet"
    if data.startswith(b"PAR1"):
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


def _impostor(name: str, form: str, what: str, fix: str) -> DataError:
    return DataError(f"the file is taken for {NAMES[form]}, but it is {what}", where=name, fix=fix)
