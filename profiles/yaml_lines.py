"""YAML read into nodes that know their line: text, lists and mappings, and nothing else.

The file is untrusted. It is read through PyYAML's safe parser event by event, so that no object is
built, and nothing that could grow (anchors, aliases, merge keys) or surprise (tags, a key given
twice, several documents) is accepted. Plain scalars stay text (``2.10`` is not 2.1, ``no`` is not
false): the schema decides what they mean. Only ``null`` and ``~`` mean None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from ..errors import Problem, ProfileError

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 16

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclasses.dataclass(frozen=True)
class Node:
    """A value and where it stands: for the value of a key, the line of the key.

    Attributes:
        value: a mapping or list of nodes, or a scalar (out of YAML: text or None).
        file: the file's name as the user gave it.
        line: counted from 1; 0 where there are no lines.
    """

    value: Any
    file: str
    line: int = 0

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @classmethod
    def of(cls, plain: Any, file: str) -> Node:
        """Return plain data (of JSON, or detected) as nodes without lines."""
        if isinstance(plain, Mapping):
            return cls({str(key): cls.of(value, file) for key, value in plain.items()}, file)
        if isinstance(plain, list | tuple):
            return cls([cls.of(value, file) for value in plain], file)
        return cls(plain, file)

    def plain(self) -> Any:
        """Return the data without the lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def nearest(self, keys: tuple[str | int, ...]) -> Node:
        """Return the node that `keys` lead to, or the last one on the way that is there."""
        node = self
        for key in keys:
            items = dict(enumerate(node.value)) if isinstance(node.value, list) else node.value
            if not isinstance(items, dict) or key not in items:
                break
            node = items[key]
        return node


def merge(parent: Node, child: Node) -> Node:
    """Return `parent` with what `child` says laid over it.

    Mappings are merged key by key; lists and scalars are replaced, and so is a figure (a mapping
    with the key ``value``): its source and note speak of its own value only.
    """
    mappings = isinstance(parent.value, dict) and isinstance(child.value, dict)
    if not mappings or "value" in child.value:
        return child
    merged = dict(parent.value)
    for key, node in child.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return dataclasses.replace(child, value=merged)


def read(path: Path) -> tuple[Node, list[Problem]]:
    """Read a file whose root is a mapping.

    Returns:
        The root, and the problems (keys given twice, aliases, tags) that left it readable.

    Raises:
        ProfileError: the file cannot be read at all, or its root is no mapping.
    """
    return _Reader(str(path)).read(_text(path))


def _fail(where: str, what: str, fix: str = "") -> NoReturn:
    raise ProfileError("the profile cannot be read", [Problem(where, what, fix)])


def _text(path: Path) -> str:
    if not path.is_file():
        _fail(str(path), "there is no such file", "a profile is a YAML file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        _fail(str(path), f"cannot be opened: {error.strerror}")
    if len(data) > MAX_BYTES:
        _fail(str(path), f"is larger than {MAX_BYTES} bytes", "a profile takes a few kilobytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"{data[error.start]:#04x}"
        line = data.count(b"\n", 0, error.start) + 1
        _fail(f"{path}:{line}", f"byte {byte} is not UTF-8", "save the file as UTF-8")


class _Reader:
    """Builds nodes from the parser's events, and collects problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.events: Iterator[Any] = iter(())

    def read(self, text: str) -> tuple[Node, list[Problem]]:
        self.events = yaml.parse(text, Loader=_LOADER)
        try:
            root = self._document()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{self.file}:{mark.line + 1}" if mark else self.file
            _fail(where, f"is not YAML: {getattr(error, 'problem', None) or error}")
        if not isinstance(root.value, dict):
            _fail(root.where, "the root is not a mapping", "write `key: value` lines")
        return root, self.problems

    def _document(self) -> Node:
        """Read the only document; an empty file is None."""
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._report(event, "a second document starts here", "keep one in a file")
                    break
                root = self._node(next(self.events), 1)
        return root or Node(None, self.file, 1)

    def _report(self, event: Any, what: str, fix: str) -> None:
        line = event.start_mark.line + 1
        self.problems.append(Problem(f"{self.file}:{line}", what, fix))

    def _node(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            _fail(f"{self.file}:{line}", f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            self._report(event, f"alias '*{event.anchor}'", "write the value out, or use extends")
            return Node(None, self.file, line)
        if event.anchor is not None:
            self._report(event, f"anchor '&{event.anchor}'", "write the value out, or use extends")
        if event.tag is not None:
            self._report(event, f"tag {event.tag!r}", "tags mean nothing here: remove it")
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(depth), self.file, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._sequence(depth), self.file, line)
        null = event.value in _NULL and not event.style
        return Node(None if null else event.value, self.file, line)

    def _sequence(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = dataclasses.replace(self._node(next(self.events), depth + 1), line=key.line)
            if not isinstance(key.value, str):
                self._report(event, "a key that is not text", "write a word as the key")
            elif key.value in entries:
                first = entries[key.value].line
                self._report(
                    event, f"{key.value}: is given twice, first on line {first}", "keep one"
                )
            else:
                entries[key.value] = value
        return entries
