from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets import labelling
from assets.cli import predict
from assets.errors import ConfigurationError
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


class Model:
    """Stands for `assets.evaluation.predict`: spam is what says `win`, and surer the later the model."""

    def __init__(self) -> None:
        self.loaded: list[dict[str, Any]] = []
        self.texts: list[list[str]] = []

    def load(self, folder: Path, precision: str) -> Any:
        assert precision == "auto"
        self.loaded.append(json.loads((folder / "weights.json").read_text())[1])
        return SimpleNamespace(labels=("ham", "spam"))

    def predict(self, _: Any, texts: Sequence[str], __: Any) -> Any:
        self.texts.append(list(texts))
        scores = np.array([[0.25, 0.75] if "win" in text else [0.9, 0.1] for text in texts])
        return ["spam" if row[1] > row[0] else "ham" for row in scores], scores


@pytest.fixture
def model(tiny: Tiny, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The champion is version 2."""
    for f1 in (0.8, 0.9):
        tiny.write(f1=f1)
        assert freshtune("run", "tiny").exit_code == 0
    made = Model()
    module = ModuleType("assets.evaluation.predict")
    module.load, module.predict = made.load, made.predict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "assets.evaluation.predict", module)
    return made


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_texts(freshtune: Freshtune, model: Model) -> None:
    result = freshtune("predict", "tiny", "win a prize", "see you [tomorrow]")
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["predicted", "confidence", "text"],
        ["spam", "75.0%", "win", "a", "prize"],
        ["ham", "90.0%", "see", "you", "[tomorrow]"],
    ]
    assert [weights["f1"] for weights in model.loaded] == [0.9]


def test_json(freshtune: Freshtune, model: Model) -> None:
    result = freshtune("predict", "tiny", "win", "--json", "--version", "1")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"text": "win", "predicted": "spam", "confidence": 0.75, "scores": {"ham": 0.25, "spam": 0.75}}
    ]
    assert [weights["f1"] for weights in model.loaded] == [0.8]


def test_texts_are_cleaned_as_for_training(freshtune: Freshtune, model: Model, tiny: Tiny) -> None:
    freshtune("predict", "tiny", "  cafe\u0301\t win ")
    assert model.texts == [["café win"]]
    tiny.config["cleaning"] = {"unicode": None, "whitespace": False}
    freshtune("predict", "tiny", "  cafe\u0301\t win ")
    assert model.texts[-1] == ["  cafe\u0301\t win "]


def test_texts_are_masked_as_for_training(freshtune: Freshtune, model: Model, tiny: Tiny) -> None:
    tiny.config["cleaning"] = {"mask_pii": ["email"]}
    result = freshtune("predict", "tiny", "win at  ada@example.org or +49 30 901820", "--json")
    assert model.texts == [["win at <EMAIL> or +49 30 901820"]]
    assert json.loads(result.stdout)["text"] == "win at  ada@example.org or +49 30 901820"


def test_csv(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes('\ufeffid,body\n1,"win, now"\n2,"two\nlines"\n\n3,\n'.encode())
    result = freshtune("predict", "tiny", "--input", str(path), "--column", "body")
    assert result.exit_code == 0, result.output
    assert rows(result.stdout) == [
        {"id": "1", "body": "win, now", "predicted": "spam", "confidence": "0.75"},
        {"id": "2", "body": "two\nlines", "predicted": "ham", "confidence": "0.9"},
        {"id": "3", "body": "", "predicted": "", "confidence": ""},
    ]
    assert model.texts == [["win, now", "two lines"]]
    assert "1 rows without a text were not predicted" in result.stderr
    assert "tiny: loading version 2\ntiny: predicting, 3 to do\n" in result.stderr


def test_jsonl_to_a_file(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    path, written = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "win", "n": 1}\n\n{"text": null, "n": 2}\n')
    result = freshtune("predict", "tiny", "-i", str(path), "-o", str(written))
    assert (result.exit_code, result.stdout) == (0, "")
    assert [json.loads(line) for line in written.read_text().splitlines()] == [
        {"text": "win", "n": 1, "predicted": "spam", "confidence": 0.75, "scores": {"ham": 0.25, "spam": 0.75}},
        {"text": None, "n": 2, "predicted": None, "confidence": None, "scores": None},
    ]
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["in.jsonl", "out.jsonl"]


def test_tsv_keeps_its_quotes(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text('text\tid\n"win" he said\t1\n')
    result = freshtune("predict", "tiny", "-i", str(path))
    assert result.stdout == 'text\tid\tpredicted\tconfidence\n"win" he said\t1\tspam\t0.75\n'


def test_standard_input_in_chunks(freshtune: Freshtune, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "CHUNK", 2)
    monkeypatch.setattr(predict, "WAIT", 30.0)
    result = freshtune("predict", "tiny", "-i", "-", input="win\n\n  \na\r\nb, c\n")
    assert result.exit_code == 0, result.output
    assert [(row["text"], row["predicted"]) for row in rows(result.stdout)] == [
        ("win", "spam"),
        ("a", "ham"),
        ("b, c", "ham"),
    ]
    assert model.texts == [["win", "a"], ["b, c"]]
    result = freshtune("predict", "tiny", "-i", "-", "--format", "jsonl", input='{"text": "win"}')
    assert json.loads(result.stdout)["predicted"] == "spam"


def test_nothing_to_predict(freshtune: Freshtune, model: Model) -> None:
    result = freshtune("predict", "tiny", "-i", "-", input="")
    assert (result.exit_code, result.stdout, model.texts) == (0, "", [])


# Without the time, tests have the same names in every process.
CUT_OFF = gzip.compress(b"text\n" + bytes(range(97, 122)) * 9, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "message", "code"),
    [
        ("in.csv", b"id,body\n1,a\n", "no column 'text'; there are 'id', 'body'", 2),
        ("in.csv", b"", "no column 'text'; there are none", 2),
        ("in.jsonl", b'{"body": "a"}\n', "in.jsonl, line 1: no column 'text'; there are 'body'", 2),
        ("in.csv", b"text,predicted\na,b\n", "the input has a column 'predicted' already", 2),
        ("in.json", b'{"text": "a"}', "in.json: not an array", 1),
        ("in.json", b"[", "in.json: not JSON", 1),
        ("in.json", b'[{"body": "a"}]', "in.json, row 1: no column 'text'; there are 'body'", 2),
        ("in.parquet", b"PAR1", "in.parquet: the file is cut off or damaged", 1),
        ("in.arrow", b"", "in.arrow: the file is cut off or damaged", 1),
        ("in.csv.gz", CUT_OFF, "in.csv.gz: the file is cut off", 1),
        ("in.xlsx", b"", "the format of", 2),
        ("in", b"", "has no ending", 2),
    ],
)
def test_bad_input(
    freshtune: Freshtune,
    model: Model,
    tmp_path: Path,
    name: str,
    content: bytes,
    message: str,
    code: int,
) -> None:
    (tmp_path / name).write_bytes(content)
    written = tmp_path / "out.csv"
    written.write_text("precious")
    result = freshtune("predict", "tiny", "-i", str(tmp_path / name), "-o", str(written))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert written.read_text() == "precious"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give texts or --input, one of the two"),
        (["a", "-i", "-"], "give texts or --input, one of the two"),
        (["-i", "missing.csv"], "cannot read 'missing.csv': No such file or directory"),
        (["a", "-o", "out.xml"], "the format of 'out.xml' is unknown"),
        (["a", "-o", "out.json"], "json is not written"),
        (["a", "--version", "7"], "no version 7; there are 1, 2"),
    ],
)
def test_wrong_use(freshtune: Freshtune, model: Model, arguments: list[str], message: str) -> None:
    result = freshtune("predict", "tiny", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert model.texts == []


def test_tabs_do_not_fit_into_tsv(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    result = freshtune("predict", "tiny", "a\tb", "-o", str(tmp_path / "out.tsv"))
    assert result.exit_code == 1
    assert "cannot be written as tsv" in result.stderr
    assert not (tmp_path / "out.tsv").exists()


def test_no_champion(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("predict", "tiny", "a")
    assert result.exit_code == 2
    assert "no model is in use yet" in result.stderr
    assert result.stderr.rstrip().endswith("fix: freshtune run tiny")
    tiny.config["gate"] = {"floor": 0.99}
    freshtune("run", "tiny")
    assert "name one that was refused with --version" in freshtune("predict", "tiny", "a").stderr


@pytest.mark.parametrize(
    ("name", "content", "left_out"),
    [
        ("in.csv", b"id,text\n1,a\n2,b,c\n3,win\n", ["line 3: the row has more fields than the header line"]),
        ("in.csv", b"id,text\n1\n1,a\n3,win\n", ["line 2: the row has fewer fields than the header line"]),
        ("in.csv", b'id,text\n1,a\n2,"b"c"\n3,win\n', ["line 3: not csv: "]),
        ("in.csv", b'id,text\n1,a\n3,win\n1,"a\n', ["line 4: not csv: unexpected end of data"]),
        ("in.tsv", b"text\na\nsch\xf6n\nwin\n", ["line 3: 'text' is not UTF-8: \\xf6 at character 4"]),
        ("in.txt", b"a\nsch\xf6n\nwin\n", ["line 2: 'text' is not UTF-8"]),
        (
            "in.jsonl",
            b'{"text": "a"}\n{"text"\n["a"]\n{"text": "win"}\n',
            ["line 2: not JSON", "line 3: not a JSON obj"],
        ),
        (
            "in.jsonl",
            b'{"text": 1}\n{"text": "a"}\n{}\n{"text": "win"}\n',
            ["line 1: 'text' is no text: 1", "line 3: no"],
        ),
        ("in.json", b'[{"text": "a"}, 7, {"text": "win"}]', ["row 2: not a JSON object"]),
    ],
)
def test_lines_that_are_no_rows_are_named_and_left_out(
    freshtune: Freshtune, model: Model, tmp_path: Path, name: str, content: bytes, left_out: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    result = freshtune("predict", "tiny", "-i", str(tmp_path / name))
    assert result.exit_code == 1, result.output
    assert model.texts == [["a", "win"]]
    for each in left_out:
        assert f"left out: {tmp_path / name}, {each}" in result.stderr
    assert f"{len(left_out)} lines cannot be read as rows, and were left out" in result.stderr
    assert len(result.stdout.splitlines()) == 2 + (name.endswith(("csv", "tsv", "txt")))


def test_of_many_damaged_lines_the_first_are_named(freshtune: Freshtune, model: Model) -> None:
    result = freshtune("predict", "tiny", "-i", "-", "--format", "jsonl", input="{\n" * 30)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("left out: standard input, line") == predict.NAMED
    assert "30 lines cannot be read as rows" in result.stderr


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow", "in.feather", "in.arrows"])
def test_tables(freshtune: Freshtune, model: Model, tmp_path: Path, name: str) -> None:
    table = pa.table({"n": [1, 2, 3], "text": pa.array(["win", None, "a"]).dictionary_encode()})
    path, out = tmp_path / name, tmp_path / "out.parquet"
    if name.endswith("parquet"):
        pq.write_table(table, path)
    else:
        make = pa.ipc.new_stream if name.endswith("arrows") else pa.ipc.new_file
        with make(path, table.schema) as file:
            file.write_table(table)
    result = freshtune("predict", "tiny", "-i", str(path), "-o", str(out))
    assert result.exit_code == 0, result.output
    assert pq.read_table(out).to_pylist() == [
        {"n": 1, "text": "win", "predicted": "spam", "confidence": 0.75, "scores": {"ham": 0.25, "spam": 0.75}},
        {"n": 2, "text": None, "predicted": None, "confidence": None, "scores": None},
        {"n": 3, "text": "a", "predicted": "ham", "confidence": 0.9, "scores": {"ham": 0.9, "spam": 0.1}},
    ]
    shown = freshtune("predict", "tiny", "-i", str(path))
    assert [json.loads(line)["predicted"] for line in shown.stdout.splitlines()] == ["spam", None, "ham"]


@pytest.mark.parametrize(("ending", "codec"), [("gz", "gzip"), ("zst", "zstd")])
def test_compressed_files(freshtune: Freshtune, model: Model, tmp_path: Path, ending: str, codec: str) -> None:
    for name, content in (("in.csv", "text\nwin\ngrün\n"), ("in.json", '[{"text": "win"}, {"text": "grün"}]')):
        path = tmp_path / f"{name}.{ending}"
        with pa.CompressedOutputStream(str(path), codec) as file:
            file.write(content.encode())
        result = freshtune("predict", "tiny", "-i", str(path))
        assert result.exit_code == 0, result.output
        assert model.texts[-1] == ["win", "grün"]


def test_parquet_needs_one_type_for_a_column(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    path.write_text('{"text": "win", "n": null}\n{"text": "a", "n": [1]}\n')
    assert freshtune("predict", "tiny", "-i", str(path), "-o", str(out)).exit_code == 0
    path.write_text('{"text": "win", "n": 1}\n{"text": "a", "n": "one"}\n')
    result = freshtune("predict", "tiny", "-i", str(path), "-o", str(out))
    assert result.exit_code == 1
    assert "a column holds values of several types, which Parquet does not have" in result.stderr
    assert pq.read_table(out).num_rows == 2


def test_nothing_to_predict_is_a_table_without_rows(freshtune: Freshtune, model: Model, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert freshtune("predict", "tiny", "-i", "-", "-o", str(out), input="").exit_code == 0
    assert pq.read_table(out).column_names == ["predicted", "confidence", "scores"]


def test_a_slow_pipe_is_answered_line_by_line(
    freshtune: Freshtune, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[str] = []
    label = model.predict

    def noted(*given: Any) -> Any:
        answered.extend(given[1])
        return label(*given)

    def slow(*_: Any) -> Iterator[dict[str, Any]]:
        for text in ("win", "a"):
            yield {"text": text}
            until = time.monotonic() + 30
            while text not in answered and time.monotonic() < until:
                time.sleep(0.01)
            assert text in answered, "it waits for more lines"

    monkeypatch.setattr(sys.modules["assets.evaluation.predict"], "predict", noted)
    monkeypatch.setattr(predict, "read", slow)
    result = freshtune("predict", "tiny", "-i", "-", input="")
    assert result.exit_code == 0, result.output
    assert model.texts == [["win"], ["a"]]


def test_the_python_function_answers_like_the_command(freshtune: Freshtune, model: Model) -> None:
    found = list(labelling.predict("tiny", ["win", " ", "a"]))
    assert found == [
        labelling.Prediction("spam", 0.75, {"ham": 0.25, "spam": 0.75}),
        None,
        labelling.Prediction("ham", 0.9, {"ham": 0.9, "spam": 0.1}),
    ]
    assert list(labelling.predict("tiny", [], version=1)) == []
    assert [weights["f1"] for weights in model.loaded] == [0.9, 0.8]
    with pytest.raises(ConfigurationError, match="no version 7; there are 1, 2"):
        labelling.predict("tiny", ["a"], version=7)


def test_the_python_function_takes_texts_as_it_gives_answers(freshtune: Freshtune, model: Model) -> None:
    found = labelling.predict("tiny", itertools.repeat("win"))
    assert next(found) == next(found)
    assert len(model.texts) == 1


def test_the_python_function_without_a_champion(tiny: Tiny, freshtune: Freshtune) -> None:
    with pytest.raises(ConfigurationError, match="no model is in use yet"):
        labelling.predict("tiny", ["a"])


@pytest.mark.parametrize("name", ["out.csv.gz", "out.jsonl.zst", "out.parquet.GZ"])
def test_a_name_that_says_packed_is_refused(freshtune: Freshtune, model: Model, tmp_path: Path, name: str) -> None:
    result = freshtune("predict", "tiny", "a", "-o", str(tmp_path / name))
    assert result.exit_code != 0
    assert f"'{name}' would not be packed" in result.stderr
    assert not (tmp_path / name).exists()
    assert model.texts == []
