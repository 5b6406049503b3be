"""Operators of the default domain that no target takes, and why."""

from __future__ import annotations

from typing import Final

_CONTROL: Final = "the path through the graph must not depend on data"
_SEQUENCE: Final = "there are tensors only, no sequences"
_OPTIONAL: Final = "there are tensors only, no optional values"
_TEXT: Final = "there are numbers only, no text: prepare text outside the model"
_RANDOM: Final = "the same input must give the same output"
_FILE: Final = "images are decoded outside the model"

REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _CONTROL),
    **dict.fromkeys(
        (
            "ConcatFromSequence",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SplitToSequence",
        ),
        _SEQUENCE,
    ),
    **dict.fromkeys(("Optional", "OptionalGetElement", "OptionalHasElement"), _OPTIONAL),
    **dict.fromkeys(
        (
            "RegexFullMatch",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            "Bernoulli",
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        ),
        _RANDOM,
    ),
    "ImageDecoder": _FILE,
}
