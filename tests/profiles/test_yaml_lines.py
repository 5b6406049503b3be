"""Reading YAML: lines are kept, and what could grow or surprise is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles.yaml_lines import MAX_BYTES, MAX_DEPTH, Node, merge, read


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def told(tmp_path: Path, text: str | bytes) -> list[str]:
    """Return the problems of a file that can be read, without the folder."""
    _, problems = read(write(tmp_path, text))
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in problems]


def failure(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ProfileError) as error:
        read(write(tmp_path, text))
    (problem,) = error.value.problems
    return str(problem).removeprefix(f"{tmp_path}/")


def test_scalars_stay_text_and_lines_are_kept(tmp_path: Path):
    text = 'version: 2.10\nold: no\nnothing: ~\nempty:\nquoted: "null"\nlist:\n  - 1\n  - {a: b}\n'
    root, problems = read(write(tmp_path, text))
    assert not problems
    assert root.plain() == {
        "version": "2.10",
        "old": "no",
        "nothing": None,
        "empty": None,
        "quoted": "null",
        "list": ["1", {"a": "b"}],
    }
    assert root.nearest(("list",)).line == 6
    assert root.nearest(("list", 1, "a")).line == 8
    assert root.nearest(("list", 7, "a")).line == 6
    assert root.nearest(("list", 1, "a", "b")).where == f"{tmp_path}/a.yaml:8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4\n", ["a.yaml:3: a: is given twice, first on line 1 (keep one)",
                                      "a.yaml:4: b: is given twice, first on line 2 (keep one)"]),
        ("a: &x 1\nb: *x\n", ["a.yaml:1: anchor '&x' (write the value out, or use extends)",
                              "a.yaml:2: alias '*x' (write the value out, or use extends)"]),
        ("a: !!python/object/apply:os.system [id]\n",
         ["a.yaml:1: tag 'tag:yaml.org,2002:python/object/apply:os.system'"
          " (tags mean nothing here: remove it)"]),
        ("a: !!int '3'\n", ["a.yaml:1: tag 'tag:yaml.org,2002:int'"
                            " (tags mean nothing here: remove it)"]),
        ("? [a, b]\n: 1\n", ["a.yaml:1: a key that is not text (write a word as the key)"]),
        ("a: 1\n---\nb: 2\n", ["a.yaml:2: a second document starts here (keep one in a file)"]),
    ],
)  # fmt: skip
def test_what_surprises_is_told(tmp_path: Path, text: str, expected: list[str]):
    assert told(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.yaml:1: the root is not a mapping"),
        ("- a\n- b\n", "a.yaml:1: the root is not a mapping"),
        ("just words\n", "a.yaml:1: the root is not a mapping"),
        ("a: [1, 2\nb: 3\n", "a.yaml:2: is not YAML: "),
        ("a: *nobody\n", "a.yaml:1: alias '*nobody'"),
        ("a: b: c\n", "a.yaml:1: is not YAML: mapping values are not allowed"),
        (b"a: \xff\n", "a.yaml:1: byte 0xff is not UTF-8"),
        (b"ok: 1\na: \x00\n", "a.yaml"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str | bytes, expected: str):
    if "nobody" in expected:
        assert told(tmp_path, text)[0].startswith(expected)
    else:
        assert failure(tmp_path, text).startswith(expected)


def test_a_file_too_large(tmp_path: Path):
    assert "is larger than" in failure(tmp_path, "a: " + "x" * MAX_BYTES)


@pytest.mark.parametrize("brackets", ["[", "{a: "])
def test_a_file_too_deep(tmp_path: Path, brackets: str):
    deep = "a: " + brackets * 50_000
    assert failure(tmp_path, deep) == f"a.yaml:1: is nested deeper than {MAX_DEPTH} levels"


def test_a_bomb_of_aliases_does_not_grow(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    root, problems = read(write(tmp_path, "\n".join(lines)))
    assert len(problems) == 9 + 8 * 9
    assert sum(len(node.value) for node in root.value.values()) == 81


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/proc/self/mem"])
def test_what_is_no_file(path: str):
    with pytest.raises(ProfileError):
        read(Path(path))


def test_merge():
    parent = Node.of({"a": {"x": 1, "y": 2}, "b": [1, 2], "c": {"value": 1, "note": "n"}}, "p")
    child = Node.of({"a": {"y": 3, "z": 4}, "b": [9], "c": {"value": 5}, "d": None}, "c")
    merged = merge(parent, child)
    assert merged.plain() == {
        "a": {"x": 1, "y": 3, "z": 4},
        "b": [9],
        "c": {"value": 5},
        "d": None,
    }
    assert merged.nearest(("a", "x")).file == "p"
    assert merged.nearest(("a", "y")).file == "c"
    assert parent.plain()["a"] == {"x": 1, "y": 2}
