"""Pipelines are found and read, and everything that is wrong with one is said at once, in plain words."""

# ruff: noqa: E501 - a message is easier to compare on one line

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config.load import COMPONENT, load_pipeline, pipeline_names
from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError

REPOSITORY = Path(__file__).parents[2]
NEEDED = """\
task:
  labels: [ham, spam]
source:
  files: [data/*.csv]
base_model:
  name: tiny
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def write(root: Path, text: str | bytes, name: str = "mine") -> None:
    folder = root / "pipelines" / name
    folder.mkdir(exist_ok=True)
    (folder / "defs.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())


def load(root: Path, attributes: str) -> Pipeline:
    write(root, f"type: {COMPONENT}\nattributes:\n{indent(dedent(attributes), '  ')}")
    return load_pipeline("mine", root)


def errors(root: Path, attributes: str) -> list[str]:
    """Lines of the message after the first, without the file."""
    with pytest.raises(ConfigurationError) as caught:
        load(root, attributes)
    return lines(caught.value)


def lines(error: ConfigurationError) -> list[str]:
    first, *rest = str(error).split("\n")
    assert first == f"the configuration has {len(rest)} error{'s' if len(rest) > 1 else ''}"
    assert all(line.startswith("  pipelines/mine/defs.yaml:") for line in rest)
    return [line.removeprefix("  pipelines/mine/defs.yaml:") for line in rest]


def test_a_pipeline_is_read(root: Path) -> None:
    pipeline = load(root, f"{NEEDED}training: {{epochs: 5}}\ngate: {{floor: null}}\n")
    assert pipeline.training.epochs == 5
    assert pipeline.task.labels == ("ham", "spam")
    assert pipeline.gate.floor is None
    assert pipeline.splits == Pipeline.model_fields["splits"].default


@pytest.mark.parametrize(
    ("written", "value"),
    [("3e-5", 3e-5), ("3E-5", 3e-5), ("3.0e-5", 3e-5), ("0.00003", 3e-5), ("1", 1.0), ("1e-1", 0.1)],
)
def test_numbers_may_be_written_as_people_do(written: str, value: float, root: Path) -> None:
    rate = load(root, f"{NEEDED}training: {{learning_rate: {written}}}\n").training.learning_rate
    assert rate == value
    assert isinstance(rate, float)


def test_text_in_quotes_is_text_whatever_it_looks_like(root: Path) -> None:
    pipeline = load(root, NEEDED.replace("[ham, spam]", '["1", "yes", "2024-01-01", "3e5"]') + 'description: "true"\n')
    assert pipeline.task.labels == ("1", "yes", "2024-01-01", "3e5")
    assert pipeline.description == "true"


def test_numbers_of_expectations_are_numbers(root: Path) -> None:
    expectation = "{type: expect_x, kwargs: {a: 1e3, b: 2, c: '1e3'}}"
    pipeline = load(root, f"{NEEDED}validation: {{expectations: [{expectation}]}}\n")
    assert pipeline.validation.expectations[0].kwargs == {"a": 1000.0, "b": 2, "c": "1e3"}


def test_anchors_are_followed(root: Path) -> None:
    pipeline = load(root, f"{NEEDED}splits: {{validation: &share 0.15, test: *share}}\n")
    assert pipeline.splits.test == 0.15


def test_pipelines_are_listed_by_name(root: Path) -> None:
    for name in ("zebra", "ape"):
        write(root, "", name)
    (root / "pipelines" / "empty").mkdir()
    (root / "pipelines" / "file.txt").touch()
    assert pipeline_names(root) == ["ape", "zebra"]


def test_a_project_without_pipelines_has_none(root: Path) -> None:
    assert pipeline_names(root) == []
    with pytest.raises(
        ConfigurationError, match="there is no pipeline 'mine'\n  fix: this project has none yet: make .*defs.yaml"
    ):
        load_pipeline("mine", root)


def test_no_such_pipeline_names_near_ones_and_all(root: Path) -> None:
    for name in ("sms_spam", "reviews"):
        write(root, "", name)
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline("sms_span", root)
    assert caught.value.exit_code == 2
    assert str(caught.value).endswith(
        "there is no pipeline 'sms_span'\n  fix: did you mean sms_spam? there are: reviews, sms_spam"
    )


@pytest.mark.parametrize("name", ["SMS-Spam", "1st", "_x", "../mine", "", "a b", "é", "mine\n"])
def test_a_name_that_is_none_is_refused(name: str, root: Path) -> None:
    write(root, "", "sms_spam")
    with pytest.raises(
        ConfigurationError, match="is no name of a pipeline; accepted: lower-case letters, digits and _"
    ):
        load_pipeline(name, root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pipelines/mine/defs.yaml: is empty\n  fix: write `type: assets.orchestration.FineTuningPipeline`"),
        ("# nothing\n", "defs.yaml: is empty"),
        ("---\n---\n", "defs.yaml:3: holds several documents; one is accepted\n  fix: remove the line `---`"),
        ("a: 1\n---\nb: 2\n", "defs.yaml:3: holds several documents"),
        ("a: [1\nb: 2\n", "defs.yaml:2:2: is no valid YAML: .*\n  fix: correct the indentation, colons or quotes"),
        ("a:\n\t- b\n", "defs.yaml:2:1: is no valid YAML: .*\n  fix: indent with spaces, not with tabs"),
        ("a: !!python/object:os.system x\n", "the tag python/object:os.system"),
        ("a: &x {b: *x}\n", "defs.yaml:1:4: is no valid YAML: a value that holds itself"),
        ("a: !set {b}\n", "defs.yaml:1:4: is no valid YAML: could not determine a constructor"),
        (b"a: \xff\n", "defs.yaml: is not UTF-8: byte 3 is 0xff\n  fix: save it as UTF-8"),
        (b"a: \x07\n", "defs.yaml.*: is no valid YAML"),
    ],
)
def test_a_file_that_is_not_one_document_is_refused(text: str | bytes, message: str, root: Path) -> None:
    write(root, text)
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        load_pipeline("mine", root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attributes: {}\n", f"1: type: is missing; accepted: {COMPONENT}; fix: add `type: {COMPONENT}`"),
        ("type: Other\n", f"1: type: Other is not accepted; accepted: {COMPONENT}; fix: write `type: {COMPONENT}`"),
        (
            f"type: {COMPONENT}\n",
            "1: attributes: is missing; accepted: a section with the pipeline's configuration; fix: add `attributes:`",
        ),
        (
            f"type: {COMPONENT}\nattributes: [1]\n",
            "2: attributes: is a list; accepted: a section with the pipeline's configuration; fix: write its fields below it",
        ),
        (
            f"type: {COMPONENT}\natributes: {{}}\n",
            "2: atributes: there is no such key; accepted: type, attributes; fix: did you mean attributes?",
        ),
        (
            "requirements: {}\n",
            "1: requirements: there is no such key; accepted: type, attributes; fix: move it under `attributes:` or remove it",
        ),
        ("just text\n", "1: is no section; accepted: type and attributes; fix: write these two"),
        (
            f"type: {COMPONENT}\nattributes:\n",
            "2: task: is missing; accepted: a section with type, labels; fix: add it (What is learned)",
        ),
    ],
)
def test_what_stands_at_the_top_is_checked(text: str, expected: str, root: Path) -> None:
    write(root, text)
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline("mine", root)
    assert expected in lines(caught.value)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            "training: {learning_rat: 1}",
            "9: training.learning_rat: there is no such field; accepted: epochs, batch_size, learning_rate, head_learning_rate, warmup, weight_decay, max_tokens, max_gradient_norm, seed, select_by, start, schedule, layer_decay, label_smoothing, class_weights, patience, lora_rank, order, precision, devices, activation_checkpointing, sharding, compile; fix: did you mean learning_rate or head_learning_rate?",
        ),
        (
            "training: {sharding: true, devices: 1}",
            "9: training: sharding true needs several devices, and devices is 1 (accepted: 2 or more, or all); fix: set devices, or leave sharding out",
        ),
        (
            "training: {sharding: true}",
            "9: training: sharding true needs several devices, and devices is null, which is one (accepted: 2 or more, or all); fix: set devices, or leave sharding out",
        ),
        (
            "training: {sharding: true, devices: all, compile: true}",
            "9: training: sharding true excludes compile true: a model that is shared out is gathered layer by layer, and compiled as a whole; fix: leave one of them out",
        ),
        (
            "gate: {epochs: 1}",
            "9: gate.epochs: there is no such field; accepted: metric, floor, above_baseline, below_champion, promote_if, margin, reference, slices, max_ece, servable, max_size_mb, max_latency_ms, promotion; fix: did you mean training.epochs?",
        ),
        (
            "sensor: {zzz: 1}",
            "9: sensor.zzz: there is no such field; accepted: minimum_interval_seconds, min_new_rows, max_wait; fix: remove it",
        ),
        (
            "freshness: {fail_after: 1 day}",
            "9: freshness.fail_after: '1 day' is no duration; ISO 8601, for instance PT6H or P2D, or whole seconds; fix: write one that is accepted",
        ),
        (
            "training: {batch_size: 0}",
            "9: training.batch_size: 0 is not accepted; accepted: a whole number, at least 1; fix: write one that is accepted, or remove the line for the default 16",
        ),
        (
            "training:\n  learning_rate: 1.5",
            "10: training.learning_rate: 1.5 is not accepted; accepted: a number, more than 0, at most 1 or null; fix: write one that is accepted, or remove the line for the default null",
        ),
        (
            'training: {batch_size: "3"}',
            '9: training.batch_size: "3" is text; accepted: a whole number, at least 1; fix: remove the quotes',
        ),
        (
            "training: {learning_rate: '3e-5'}",
            '9: training.learning_rate: "3e-5" is text; accepted: a number, more than 0, at most 1 or null; fix: remove the quotes',
        ),
        (
            "training: {batch_size: many}",
            "9: training.batch_size: many is text; accepted: a whole number, at least 1; fix: write one that is accepted, or remove the line for the default 16",
        ),
        ('training: {epochs: "0"}', '9: training.epochs: "0" is text; accepted: a whole number'),
        ("training: {epochs: '{{ n }}'}", '9: training.epochs: "{{ n }}" is a template'),
        (
            "training: {batch_size: 1.5}",
            "9: training.batch_size: 1.5 is a number; accepted: a whole number, at least 1; fix: write one",
        ),
        (
            "training: {epochs: true}",
            "9: training.epochs: true is read by YAML as true or false; accepted: a whole number, at least 1",
        ),
        (
            "training: {batch_size: }",
            "9: training.batch_size: has no value; accepted: a whole number, at least 1; fix: write one",
        ),
        (
            "training: {warmup: .nan}",
            "9: training.warmup: .nan is not accepted; accepted: a number, at least 0, at most 1; fix: write one",
        ),
        ("training: 3", "9: training: 3 is a number; accepted: a section with epochs, batch_size,"),
        ("training: [1]", "9: training: is a list; accepted: a section with epochs, batch_size,"),
        (
            "training: {select_by: f1-macro}",
            "9: training.select_by: f1-macro is not accepted; accepted: loss, accuracy, f1_macro, precision_macro, recall_macro; fix: did you mean f1_macro?",
        ),
        (
            'cleaning: {whitespace: "true"}',
            '9: cleaning.whitespace: "true" is text; accepted: true or false; fix: remove the quotes',
        ),
        (
            "cleaning: {whitespace: maybe}",
            "9: cleaning.whitespace: maybe is text; accepted: true or false; fix: write one that is accepted",
        ),
        (
            "cleaning: {unicode: NFX}",
            "9: cleaning.unicode: NFX is not accepted; accepted: NFC, NFKC or null; fix: did you mean NFC?",
        ),
        ("description: {a: 1}", "9: description: is a section; accepted: text; fix: write one that is accepted"),
        ("description: 12", '9: description: 12 is a number; accepted: text; fix: put it in quotes: "12"'),
        (
            "description: 2024-01-01",
            "9: description: 2024-01-01 is read by YAML as a date, which is not accepted; fix: put it in quotes if text is meant",
        ),
        (
            "splits: {validation: 0.5, test: 0.5}",
            "9: splits: validation 0.5 + test 0.5 leave nothing to train on; fix: change one of the values",
        ),
        (
            "schedule: {cron: daily}",
            r"9: schedule.cron: daily is not accepted; accepted: text of the form ^(\S+\s+){4}\S+$|^@(hourly|daily|weekly|monthly|yearly)$ (Five-field cron expression, for instance `0 3 * * *`); fix: write one that is accepted",
        ),
        ("schedule: {}", "9: schedule.cron: is missing; accepted: text of the form"),
        (
            "validation:\n  expectations:\n    - type: expect_x\n      severity: bad",
            "12: validation.expectations[0].severity: bad is not accepted; accepted: critical, warning;",
        ),
        (
            "training:\n  epochs: 1\n  epochs: 2",
            "11: training.epochs: is given twice, first in line 10; fix: keep one of the two",
        ),
        (
            "cleaning: {1: x}",
            "9: cleaning: `1` is no name of a field; accepted: text; fix: put it in quotes if it is meant",
        ),
        ("cleaning: {[a]: x}", "9: cleaning: an expression is no name of a field; accepted: text"),
        (
            "cleaning: {<<: {whitespace: true}}",
            "9: cleaning: `<<` is no name of a field; accepted: text; fix: write the fields out",
        ),
        (
            "description: '{{ env.SECRET }}'",
            '9: description: "{{ env.SECRET }}" is a template, and templates are not evaluated; accepted: the value itself; fix: write the value',
        ),
        (
            "validation:\n  expectations:\n    - {type: expect_x, kwargs: {column: '{% x %}'}}",
            '11: validation.expectations[0].kwargs.column: "{% x %}" is a template',
        ),
        (f"description: {{{'x' * 100}: 1}}", "9: description: is a section; accepted: text"),
        (f"salt: {'x' * 100}", "9: salt: there is no such field; accepted: description, task,"),
        (f"gate: {{metric: {'x' * 100}}}", f"9: gate.metric: {'x' * 57}… is not accepted"),
    ],
)
def test_one_error_is_explained(attributes: str, expected: str, root: Path) -> None:
    found = errors(root, f"{NEEDED}{attributes}\n")
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[ham, spam]", "[yes, no]", ['4: task.labels[0]: yes is read by YAML as true or false; accepted: text; fix: put it in quotes: "yes"', "4: task.labels[1]: no is"]),
        ("[ham, spam]", "[ham, 1]", ['4: task.labels[1]: 1 is a number; accepted: text; fix: put it in quotes: "1"']),
        ("[ham, spam]", "[ham]", ["4: task.labels: is not accepted; accepted: a list with at least 2 entries of text; fix: write one that is accepted"]),
        ("[ham, spam]", "[ham, ham]", ["4: task.labels: repeated: ham; fix: name each once"]),
        ("[ham, spam]", "ham", ["4: task.labels: ham is text; accepted: a list with at least 2 entries of text; fix: write [ham]"]),
        ("  labels: [ham, spam]", "  type: regression", ["3: task.labels: is missing; accepted: a list with", "4: task.type: regression is not accepted; accepted: classification"]),
        ("[data/*.csv]", "data/*.csv", ["6: source.files: data/*.csv is text; accepted: a list with at least 1 entry of text; fix: write [data/*.csv]"]),
        ("files: [data/*.csv]", "sql: {url_env: 'postgresql://me:hidden@host/db', query: SELECT 1, key: id}", ["6: source.sql.url_env: this is a URL, and URLs hold passwords; accepted: the name of an environment variable, for instance REVIEWS_DB_URL; fix: put the URL into that variable"]),
        ("files: [data/*.csv]", "sql: {url: 'postgresql://me:hidden@host/db', query: SELECT 1, key: id}", ["6: source.sql.url: there is no such field; accepted: url_env, query, key, watermark, window, overlap; fix: did you mean url_env?", "6: source.sql.url_env: is missing; accepted: text"]),
        ("files: [data/*.csv]", "format: csv", ["5: source: exactly one of files, sql, huggingface says where rows come from; given: none; fix: add one of them"]),
        ("base_model:\n  name: tiny\n", "", ["2: base_model: is missing; accepted: a section with name, sha256; fix: add it (The pretrained model to start from)"]),
        ("name: tiny", "name: tiny\n  sha256: abc", ["9: base_model.sha256: abc is not accepted; accepted: text of the form ^[0-9a-f]{64}$ (Expected digest"]),
    ],
)  # fmt: skip
def test_errors_in_what_is_needed_are_explained(old: str, new: str, expected: list[str], root: Path) -> None:
    assert old in NEEDED
    found = errors(root, NEEDED.replace(old, new))
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_all_errors_come_at_once_in_the_order_of_the_file(root: Path) -> None:
    write(
        root,
        dedent(
            """\
            type: Other
            attributes:
              description: '{{ x }}'
              task:
                labels: [yes]
              training:
                epochs: "3"
                epochs: 4
                warmup: 2
                sed: 1
              splits: {validation: 0.9, test: 0.9}
              cleaning: {1: x}
            more: 1
            """
        ),
    )
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline("mine", root)
    places = [re.match(r"(\d+): ([\w.\[\]]+)", line) for line in lines(caught.value)]
    assert [(int(place[1]), place[2]) for place in places if place] == [
        (1, "type"),
        (2, "base_model"),
        (2, "source"),
        (3, "description"),
        (5, "task.labels"),
        (5, "task.labels[0]"),
        (7, "training.epochs"),
        (8, "training.epochs"),
        (9, "training.warmup"),
        (10, "training.sed"),
        (11, "splits"),
        (12, "cleaning"),
        (13, "more"),
    ]


def test_every_shipped_pipeline_is_right() -> None:
    for name in pipeline_names(REPOSITORY):
        assert load_pipeline(name, REPOSITORY)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["epochs", "labels", "text", "x"]) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
_attributes = st.dictionaries(st.sampled_from([*Pipeline.model_fields, "x"]), _values, max_size=5)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(_attributes)
def test_whatever_is_written_is_read_or_explained(
    tmp_path_factory: pytest.TempPathFactory, attributes: dict[str, Any]
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "pipelines").mkdir(exist_ok=True)
    write(root, yaml.safe_dump({"type": COMPONENT, "attributes": attributes}, allow_unicode=True))
    with pytest.raises(ConfigurationError) as caught:  # what is drawn is never a whole pipeline
        load_pipeline("mine", root)
    assert all("; fix: " in line for line in lines(caught.value))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(alphabet="ab:{}[]-&*!|>'\"\n #,?%@`\t0.e~<", max_size=40))
def test_whatever_bytes_are_there_they_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "pipelines").mkdir(exist_ok=True)
    write(root, text)
    with pytest.raises(ConfigurationError, match="fix: "):
        load_pipeline("mine", root)


def test_reading_needs_only_pydantic_and_yaml() -> None:
    program = (
        "import sys, assets.config.load, assets.config.home; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout
    foreign = {
        name for name in output.split() if name not in sys.stdlib_module_names and not name.startswith(("_", "cython"))
    }
    assert foreign == {
        "assets",
        "pydantic",
        "pydantic_core",
        "typing_extensions",
        "typing_inspection",
        "annotated_types",
        "yaml",
    }
