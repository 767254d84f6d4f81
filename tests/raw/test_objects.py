from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.raw import objects
from assets.raw.objects import at_once, one_by_one, parse_json, parse_jsonl, parse_label_studio
from assets.raw.parse import Fault
from tests.raw.parsed import Item, items, text_of

WANTED = ("text", "label")


def jsonl(text: str) -> list[Item]:
    return items(parse_jsonl("f.jsonl", text_of(text), WANTED))


def test_values_become_text() -> None:
    lines = [
        {"text": "a", "label": 1},
        {"text": 2.0, "label": True},
        {"text": 0.5, "label": None},
        {"label": "only"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert jsonl(text) == [(1, ("a", "1")), (2, ("2", "true")), (3, ("0.5", None)), (4, (None, "only"))]


def test_lines_end_with_newlines_only() -> None:
    assert jsonl('{"text": "a\u2028b\x85c", "label": "x"}\r\n\n  \n{"text": "b", "label": "y"}') == [
        (1, ("a\u2028b\x85c", "x")),
        (4, ("b", "y")),
    ]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ('{"text": "a"', "invalid_json", "not valid JSON"),
        ('{"text": "a", "label": "x"} x', "invalid_json", "not valid JSON"),
        ('{"text": NaN, "label": "x"}', "invalid_json", "not valid JSON"),
        ("[" * 100_000, "invalid_json", "not valid JSON"),
        ("[1]", "invalid_json", "a list, not an object"),
        ("null", "invalid_json", "null, not an object"),
        ("3", "invalid_json", "a number, not an object"),
        ('{"text": ["a"], "label": "x"}', "unreadable", "column 'text' holds a list, not a text"),
        ('{"text": "a", "label": {"b": 1}}', "unreadable", "column 'label' holds an object, not a text"),
    ],
)
def test_faults(line: str, reason: str, detail: str) -> None:
    good = '{"text": "a", "label": "x"}\n'
    assert jsonl(good + line) == [(1, ("a", "x")), Fault(2, line, reason, detail)]


def test_half_a_surrogate_pair_is_no_text() -> None:
    line = '{"text": "a\\ud800", "label": "x"}'
    detail = "column 'text': \\ud800 at character 2 is not in the encoding"
    assert jsonl(line) == [Fault(1, line, "encoding", detail)]
    assert jsonl('{"text": "\\ud83d\\ude00", "label": "x"}') == [(1, ("\U0001f600", "x"))]


def test_a_column_that_no_object_has_is_missing() -> None:
    with pytest.raises(DataError, match=r"no column 'label'; columns found: 'text', 'lable'\n  fix: .*'lable'"):
        jsonl('{"text": "a", "lable": "x"}\n')


# The quick way gives what the exact one gives

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.floats() | st.text('a"\\\n\té\U0001f600[{', max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PLAIN = st.text('ab"\\\n\t\0é\u2028\U0001f600[{}NaN, ', max_size=8)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Objects on lines, sometimes with something rough in their midst."""
    labels = draw(st.sampled_from([PLAIN, PLAIN | st.none(), st.integers(-(2**63), 2**63), VALUES]))
    more = st.dictionaries(st.sampled_from(["more", "id"]), VALUES, max_size=1)
    found = draw(st.lists(st.tuples(PLAIN, labels, more, st.booleans()), min_size=1, max_size=6))
    written = [
        json.dumps({"text": text, "label": label} | rest, ensure_ascii=escaped) for text, label, rest, escaped in found
    ]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(written)
    at = draw(st.integers(0, len(text)))
    rough = draw(st.just("") | st.text('{}[]",:\\ue\r\n \xa0\x0b1-.x', max_size=4))
    return text[:at] + rough + text[at:] + draw(st.sampled_from(["", "\n", "\n\n", "\r\n \n"]))


@settings(deadline=None, derandomize=True, max_examples=500)
@given(text=lines())
def test_at_once_or_one_by_one_is_the_same(text: str) -> None:
    fast = at_once(text.encode(), WANTED)
    if fast is not None:
        assert items(fast) == items(one_by_one("f", text_of(text), WANTED))


GOOD = '{"text": "a", "label": "x"}\n'


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "\n" + GOOD,
        '{"text": "a", "label": "x"}{"text": "b", "label": "x"}\n',
        '{"text": "a",\n"label": "x"}\n',
        '{"text": "a", "label": "x"}{"text": "b",\n"label": "x"}\n',
        '{"text": "a", "text": "b", "label": "x"}\n',
        '{"text": "a", "label": "x", "id": NaN}\n',
        '{"text": "a", "label": "x", "id": [-Infinity ]}\n',
        '{"text": "a", "label": "x", "id": ' + "[" * 300 + "]" * 300 + "}\n",
        '{"text": "a", "label": 1}\n{"text": "a", "label": "1"}\n',
        '{"text": "a", "label": 1.0}\n',
        '{"text": 1, "label": "x"}\n',
        '{"text": "a", "other": "x"}\n',
        '\ufeff{"text": "a", "label": "x"}\n',
        '{"text": "a\\ud800", "label": "x"}\n',
        "[1]\n",
        "",
    ],
)
def test_what_is_suspicious_is_read_line_by_line(text: str) -> None:
    assert at_once(text.encode(), WANTED) is None


@pytest.mark.parametrize("block", [64, 1000])
def test_what_is_clean_is_read_at_once(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(objects, "BLOCK_BYTES", block)
    text = "".join(f'{{"text": "NaN [[[ é{number}", "label": {number % 7}}}\r\n' for number in range(300))
    fast = at_once(text.encode(), WANTED)
    assert fast is not None
    assert items(fast) == items(one_by_one("f", text_of(text), WANTED))


# One array


def test_an_array_of_objects() -> None:
    text = ' [{"label": 1, "text": "a"}, 7, {"text": ["b"]},\n{"text": "\\ud800"}, {"more": 1}]\n'
    assert items(parse_json("f.json", text_of(text), WANTED)) == [
        (1, ("a", "1")),
        Fault(2, "7", "invalid_json", "a number, not an object"),
        Fault(3, '{"text": ["b"]}', "unreadable", "column 'text' holds a list, not a text"),
        Fault(4, '{"text": "\\ud800"}', "encoding", "column 'text': \\ud800 at character 1 is not in the encoding"),
        (5, (None, None)),
    ]
    assert items(parse_json("f.json", text_of("[]"), WANTED)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "a"}', r"f: the file is not valid JSON: .*\n  fix: write the file again"),
        ("[NaN]", "the file is not valid JSON: NaN is not JSON"),
        ("[" * 100_000, "the file is nested too deeply"),
        ('"text"', "the file is a text in JSON, not an array of objects"),
        ('[{"text": "a"}]', r"no column 'label'; columns found: 'text'"),
        (
            '[{"data": {"text": "a"}, "annotations": []}]',
            r"Label Studio's export\n  fix: set source.format: label_studio",
        ),
    ],
)
def test_what_is_no_array_of_objects(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_json("f", text_of(text), WANTED)


# Label Studio


def annotation(*choices: str, **more: Any) -> dict[str, Any]:
    result = {"type": "choices", "from_name": "kind", "to_name": "text", "value": {"choices": list(choices)}}
    return {"id": 1, "was_cancelled": False, "updated_at": "2024-01-01T00:00:00Z", "result": [result], **more}


NO_TASK = "not a task of Label Studio with data and annotations"


def label_studio(*tasks: Any, wanted: tuple[str, ...] = WANTED) -> list[Item]:
    return items(parse_label_studio("f.json", text_of(json.dumps(tasks)), wanted))


def test_the_label_is_the_choice_of_the_latest_annotation_that_was_not_cancelled() -> None:
    annotations = [
        annotation("new", updated_at="2024-03-01T00:00:00Z"),
        annotation("old"),
        annotation("never", was_cancelled=True, updated_at="2024-04-01T00:00:00Z"),
    ]
    task = {"id": 7, "data": {"text": "a", "label": "was there before", "user": 3}, "annotations": annotations}
    assert label_studio(task, wanted=("text", "label", "user")) == [(1, ("a", "new", "3"))]
    tied = {"data": {"text": "a"}, "annotations": [annotation("y", id=9), annotation("x", id=2)]}
    assert label_studio(tied) == [(1, ("a", "y"))]


@pytest.mark.parametrize(
    ("task", "reason", "detail"),
    [
        ({"data": {"text": "a"}, "annotations": []}, "not_annotated", "no annotation that was not cancelled"),
        (
            {"data": {"text": "a"}, "annotations": [annotation("x", was_cancelled=True)]},
            "not_annotated",
            "no annotation that was not cancelled",
        ),
        (
            {"data": {"text": "a"}, "annotations": [annotation("x"), annotation(id=2)]},
            "not_annotated",
            "the latest annotation has no choice",
        ),
        (
            {"data": {"text": "a"}, "annotations": [annotation("x", "y")]},
            "several_choices",
            'the latest annotation has 2 choices: ["x", "y"]',
        ),
        (
            {"data": {"text": "a"}, "annotations": [annotation() | {"result": annotation("x")["result"] * 2}]},
            "several_choices",
            'the latest annotation has 2 choices: ["x", "x"]',
        ),
        ({"data": {"text": "a"}}, "unreadable", NO_TASK),
        ({"data": "a", "annotations": []}, "unreadable", NO_TASK),
        ({"data": {}, "annotations": [{"result": 3}]}, "unreadable", NO_TASK),
        (3, "unreadable", NO_TASK),
    ],
)
def test_tasks_without_one_label(task: Any, reason: str, detail: str) -> None:
    good = {"data": {"text": "b"}, "annotations": [annotation("x")]}
    assert label_studio(task, good) == [Fault(1, json.dumps(task), reason, detail), (2, ("b", "x"))]


def test_what_is_not_label_studios_export() -> None:
    with pytest.raises(DataError, match=r"nothing in its array has `data`\n  fix: export as JSON \(not JSON-MIN\)"):
        label_studio({"text": "a", "kind": "x"})
    with pytest.raises(DataError, match=r"no column 'text'; columns found: 'txt', 'label'"):
        label_studio({"data": {"txt": "a"}, "annotations": [annotation("x")]})
