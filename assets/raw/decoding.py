"""From a file's bytes to text: encodings and byte order marks."""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from assets.errors import ConfigurationError, DataError
from assets.raw.parse import SURROGATE

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""
COMMON = (
    "cp1252", "cp1251", "cp1250", "iso8859_2", "koi8_r", "koi8_u", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "cp1258", "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp874", "mac_roman", "cp850", "cp852", "cp866",
)  # fmt: skip
"""Encodings that people use, in the order in which they are preferred where several read the same."""
FEW_LINES = 0.1
"""Up to this share of its lines, what is not UTF-8 in a file is damage to single lines."""
SAMPLE_BYTES = 1 << 16
EVIDENCE_BYTES = 1000
"""Least size of the lines that are not ASCII, to be sure of an encoding."""
# Tried on translated messages of 59 languages in their usual encodings, 1 to 3,000 lines each: of 2,002 samples this
# rule is sure of 100, and right about all of them. Western European encodings are never far enough apart.
CHAOS, COHERENCE, MARGIN = 0.05, 0.2, 0.1


class Text(NamedTuple):
    """A text file's content, without a byte order mark.

    Attributes:
        utf8: in UTF-8, or None where some bytes are not in the encoding.
        escaped: else as text, with surrogates (U+DC80–U+DCFF) for those bytes.
        guessed: the encoding, where neither the configuration nor the file says it.
    """

    utf8: bytes | None
    escaped: str = ""
    guessed: str | None = None

    @property
    def damaged(self) -> bool:
        """Whether bytes are not in the encoding."""
        return self.utf8 is None

    def whole(self) -> str:
        """All of it."""
        return self.escaped if self.utf8 is None else self.utf8.decode()

    def lines(self) -> io.TextIOBase:
        """Physical lines with their ends as they are, as an editor counts them; read as far as they are asked for."""
        if self.utf8 is None:
            return io.StringIO(self.escaped, newline="")
        return io.TextIOWrapper(io.BytesIO(self.utf8), "utf-8", newline="")


def decode(name: str, data: bytes, encoding: str) -> Text:
    """Decode a text file.

    Args:
        name: the file's name, for messages.
        data: the whole file.
        encoding: as Python names it, or `auto`: a byte order mark decides; else it is UTF-8 if at most a few lines are
            none; else what its bytes surely are.

    Raises:
        ConfigurationError: no such encoding.
        DataError: the file is binary, in another encoding or in one that is not sure, or holds nothing but white space.
    """
    if encoding == "auto":
        encoding = next((encoding for mark, encoding in MARKS if data.startswith(mark)), "auto")
    if encoding in {"auto", "utf-8"} and _is_utf8(data):
        text = Text(data.removeprefix(codecs.BOM_UTF8))
    elif encoding == "auto":
        _refuse_binary(name, data, data)
        text = _not_utf8(name, data)
    else:
        text = _decoded(name, data, encoding)
    _refuse_binary(name, data, text.escaped.encode(errors="replace") if text.utf8 is None else text.utf8)
    beginning = text.escaped[:1000] if text.utf8 is None else text.utf8[:1000].decode(errors="ignore")
    if not beginning.strip() and not text.whole().strip():
        raise DataError("the file is empty", where=name, fix="put rows in it, or take it out of source.files")
    return text


def _is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, without making text of them."""
    if data.isascii():
        return True
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(name: str, data: bytes, encoding: str) -> Text:
    try:
        return _text(data.decode(encoding))
    except LookupError as error:
        raise ConfigurationError(
            f"{encoding!r} is no text encoding",
            where="source.encoding",
            fix="auto, or for instance utf-8, cp1252, latin-1, utf-16",
        ) from error
    except UnicodeDecodeError as strict:
        wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
        if data[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} and not wide:
            raise DataError(
                f"the file is UTF-16, not {encoding}", where=name, fix="set source.encoding: utf-16"
            ) from strict
        try:
            return _text(data.decode(encoding, "surrogateescape"))
        except UnicodeDecodeError as error:
            raise DataError(
                f"the file is not {encoding}: {error.reason} at byte {error.start}",
                where=name,
                fix="set source.encoding to the encoding that the file was written in",
            ) from error


def _text(text: str) -> Text:
    text = text.removeprefix("\ufeff")
    try:
        return Text(text.encode())
    except UnicodeEncodeError:
        return Text(None, text)


def _refuse_binary(name: str, data: bytes, content: bytes) -> None:
    """Refuse content, decoded from data, that no text has."""
    nul = content.find(b"\0")
    if nul < 0:
        return
    even, odd = (data[start:4096:2].count(0) for start in (0, 1))
    half = min(len(data), 4096) // 4
    guess = "utf-16-le" if odd > half > even else "utf-16-be" if even > half > odd else None
    if guess:
        raise DataError(
            f"every other byte of the file is NUL: it seems to be {guess} without a byte order mark",
            where=name,
            fix=f"set source.encoding: {guess}",
        )
    raise DataError(
        f"the file is binary, not text: line {content.count(10, 0, nul) + 1} has a NUL character",
        where=name,
        fix="name the right file, set source.encoding if it is text in another encoding (utf-16 is full of NULs), "
        "or write the file again without NULs",
    )


def _not_utf8(name: str, data: bytes) -> Text:
    """Text that is UTF-8 but for a few lines, or in the encoding that it surely is in.

    Raises:
        DataError: no encoding is sure.
    """
    text = data.decode("utf-8", "surrogateescape")
    filled = [line for line in text.split("\n") if line and not line.isspace()]
    if sum(SURROGATE.search(line) is not None for line in filled) <= FEW_LINES * len(filled):
        return Text(None, text)
    from charset_normalizer import from_bytes

    sample = _sample(data)
    matches = list(from_bytes(sample, steps=10, chunk_size=1024, preemptive_behaviour=False, enable_fallback=False))
    if matches and len(sample) >= EVIDENCE_BYTES and _stands_out(matches):
        encoding, *alike = _names(matches[0])
        decoded = _strictly(data, encoding)
        # Beyond the sample the file may be something else, or encodings that read the same in it may differ.
        if decoded is not None and all(_strictly(data, other) in {None, decoded} for other in alike):
            return _text(decoded)._replace(guessed=encoding)
    names = [_names(match)[0] for match in matches]
    likely = [name for index, name in enumerate(names) if index == 0 or name in COMMON][:4]
    told = f": {_readings(sample, likely)}" if likely else ""
    raise DataError(
        f"the file is not UTF-8, and what it is instead is not certain{told}",
        where=name,
        fix=f"set source.encoding (is it {likely[0] if likely else 'cp1252'}?), or write the file as UTF-8; "
        "source.encoding: utf-8 puts lines that are not into quarantine",
    )


def _sample(data: bytes) -> bytes:
    """Lines that are not ASCII, from all over the file."""
    telling = [line for line in data.split(b"\n") if not line.isascii()]
    every = sum(map(len, telling)) // SAMPLE_BYTES + 1
    return b"\n".join(telling[::every])[:SAMPLE_BYTES]


def _stands_out(matches: list[CharsetMatch]) -> bool:
    """Whether the best match reads like a language and no other comes near it; those that read the same are one."""
    best, *others = matches
    return (
        best.chaos <= CHAOS
        and best.coherence >= COHERENCE
        and all(other.chaos > best.chaos + MARGIN for other in others)
    )


def _names(match: CharsetMatch) -> list[str]:
    """Encodings that people use among those that read as a match does, or else its own."""
    return [name for name in COMMON if name in match.could_be_from_charset] or [match.encoding]


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _readings(sample: bytes, encodings: list[str]) -> str:
    """How each encoding reads a word that tells as many of them apart as one can."""
    words = re.findall(rb"[^\s,;|\"]*[\x80-\xff][^\s,;|\"]*", sample)[:1000]
    read = ([word.decode(encoding, "replace") for encoding in encodings] for word in words)
    telling = max(read, key=lambda readings: (len(set(readings)), min(len(readings[0]), 8)))
    return ", ".join(f"{word[:30]!r} as {encoding}" for encoding, word in zip(encodings, telling, strict=True))
