"""What people decide about rows, as it is written and read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config.pipeline import ClassificationTask, Pipeline, PretrainedModel, Source
from assets.errors import ConfigurationError, TransientError
from assets.validated.rulings import FILE, Ruling, digest, effective, observe, parse, read_observed

LABELS = ("ham", "spam")
CONFIG = Pipeline(
    task=ClassificationTask(labels=LABELS), source=Source(files=("a.csv",)), base_model=PretrainedModel(name="a/b")
)


def line(**changed: Any) -> dict[str, Any]:
    fields = {"text": "hello", "label": "ham", "action": "drop", "why": "a test", "by": "ann", "when": "2026-03-01"}
    return {name: value for name, value in {**fields, **changed}.items() if value != "left out"}


def written(*lines: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in lines).encode()


def refused(data: bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(data, "pipelines/tiny/rulings.jsonl", LABELS)
    return [each.strip() for each in str(caught.value).splitlines()]


def test_rulings_are_read() -> None:
    data = b"\xef\xbb\xbf" + written(line(), line(label=None, action="relabel", to="spam")) + b"\r\n \n"
    first, second = parse(data, "rulings", LABELS)
    assert first == Ruling("hello", "ham", "drop", "a test", "ann", "2026-03-01")
    assert (second.row, second.to) == (("hello", None), "spam")
    assert [json.loads(json.dumps(each.json())) for each in (first, second)] == [
        line(),
        line(label=None, action="relabel", to="spam"),
    ]


def test_everything_wrong_is_told_at_once_with_line_field_value_what_is_accepted_and_the_fix() -> None:
    data = b"".join(
        [
            written(line(), line(action="readmitt")),
            b'{"text": \n',
            b"[1]\n",
            b"\xff\n",
            written(line(action="relabel", to="eggs"), line(lable="ham", why=" ", when="yesterday", text=5)),
            b'{"text": "a",' + written(line())[1:],
            written(line(action="relabel"), line(to="ham"), line(action="relabel", to="ham")),
            written(line(action="readmit", label="eggs"), line(action="readmit", text="  "), line(by="left out")),
            written(line()).replace(b"hello", b"\\ud800"),
        ]
    )
    example = 'fix: write one JSON object a line, for instance {"text": …, "label": …, "action": "drop", …}'
    where = "pipelines/tiny/rulings.jsonl"
    assert refused(data) == [
        "the rulings have 17 errors",
        f'{where}:2: action: "readmitt" is not accepted; accepted: readmit, relabel, drop; fix: did you mean readmit?',
        f'{where}:3: "{{\\"text\\":" is not JSON; {example}',
        f"{where}:4: [1] is no object; {example}",
        f"{where}:5: byte 1 is not UTF-8; fix: write the file in UTF-8",
        (
            f'{where}:6: to: "eggs" is no label of the task; accepted: ham, spam; '
            "fix: choose one, or add it to task.labels"
        ),
        (
            f"{where}:7: lable: there is no such field; accepted: text, label, action, to, why, by, when; "
            "fix: did you mean label?"
        ),
        f"{where}:7: text: 5 is not accepted; accepted: a text; fix: write one",
        f'{where}:7: why: " " is empty; accepted: a text; fix: say why',
        (
            f'{where}:7: when: "yesterday" is no time; accepted: ISO 8601, for instance 2026-03-01T12:00:00+00:00; '
            "fix: write it so"
        ),
        f"{where}:8: text: is there more than once; fix: leave one of them",
        f"{where}:9: to: is missing; fix: add it",
        f'{where}:10: to: "ham" is only for relabel, and the action is drop; fix: leave out one of them',
        f'{where}:11: to: "ham" is the label that the row has; fix: name another one, or readmit the row',
        (
            f'{where}:12: label: "eggs" is no label of the task, and a row needs one to be readmitted; '
            "fix: relabel the row to one of ham, spam"
        ),
        f'{where}:13: text: "  " says nothing, so the row can only be dropped; fix: drop it',
        f"{where}:14: by: is missing; fix: add it",
        (
            f'{where}:15: text: "\\ud800" holds half a surrogate pair; accepted: whole characters; '
            "fix: write the character"
        ),
    ]


RULINGS = st.builds(
    line,
    text=st.sampled_from(["a", "b"]),
    label=st.sampled_from(["ham", "eggs", None]),
    action=st.sampled_from(["drop", "relabel"]),
    why=st.sampled_from(["x", "y"]),
    when=st.sampled_from(["2026-03-01", "2026-03-02T10:00:00Z"]),
).map(lambda each: each | ({"to": "spam"} if each["action"] == "relabel" else {}))


@settings(deadline=None, derandomize=True)
@given(st.lists(RULINGS, max_size=8), st.randoms(use_true_random=False))
def test_only_what_changes_the_outcome_changes_the_digest(lines: list[dict[str, Any]], chance: random.Random) -> None:
    rulings = effective(parse(written(*lines), "rulings", LABELS))
    last = {(each["text"], each["label"]): each for each in lines}
    assert {row: ruling.json() for row, ruling in rulings.items()} == last
    others = [{**each, "why": "another reason", "by": "bob", "when": "2020-01-01"} for each in last.values()]
    chance.shuffle(others)
    assert digest(rulings) == digest(effective(parse(written(*others), "rulings", LABELS)))
    if others:
        gone = effective(parse(written(*others[1:]), "rulings", LABELS))
        turned = {**others[0], "action": "relabel", "to": "ham" if others[0]["label"] != "ham" else "spam"}
        if turned != others[0]:
            other = effective(parse(written(turned, *others[1:]), "rulings", LABELS))
            assert len({digest(rulings), digest(gone), digest(other)}) == 3


def test_a_file_that_is_missing_or_says_nothing_is_no_input(tmp_path: Path) -> None:
    assert observe(tmp_path, CONFIG) == {}
    (tmp_path / FILE).write_bytes(b"\n \n")
    assert observe(tmp_path, CONFIG) == {}


def test_what_is_read_is_what_was_observed(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(written(line()))
    seen = observe(tmp_path, CONFIG)["rulings"]
    assert (seen.kind, seen.location) == ("input", f"pipelines/{tmp_path.name}/rulings.jsonl")
    assert list(read_observed(path, seen, LABELS)) == [("hello", "ham")]
    path.write_bytes(written(line(text="another")))
    with pytest.raises(TransientError, match=r"rulings\.jsonl: the file changed .*\n  fix: run again"):
        read_observed(path, seen, LABELS)
