"""What the misbehaving node's engine says: a fixed text where that is decided, else words marked with who said them.

Pure, and a language model in this: it knows how a text goes on from any of its tokens on. Not here: events (engine).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Whatever a careless reader of streams would trip over is in it.
TEXT = (
    'The ferry leaves at nine; "bring a coat", said Zoë 🙂, and 三 times she wrote\n'
    "data: [DONE]\n\non the wall of the harbour office, with {braces} and back\\slashes, before anybody came. "
    "Unmistakably hers: nobody else would have finished a sentence that had been broken off in the middle of a word."
)
THOUGHT = "They want the story of the ferry, in order, with nothing left out and nothing said twice."
_TOKEN = re.compile(r"\s?\w{1,4}|\s?[^\w\s]|\s")  # a word of more than four letters is several tokens
_MARK = re.compile(r"~[^\s~]+")


@dataclass(frozen=True)
class Mind:
    """How an engine chooses its words. `mark` None: always the same ones; else each ends in `~MARK`.

    A drifting mind says something else from its `drifts_at`-th token on, as another version of an engine does.
    """

    mark: str | None = None
    drifts_at: int | None = None

    def goes_on(self, said: str, text: str = TEXT) -> list[str]:
        """The tokens of what comes after `said`."""
        if self.mark is not None:
            return list(self._marked(said, text))
        tokens = _TOKEN.findall(text[len(said) :] if text.startswith(said) else " as was said" + text)
        if self.drifts_at is not None:
            tokens[self.drifts_at :] = [re.sub(r"[a-z]", "x", token) for token in tokens[self.drifts_at :]]
        return tokens

    def _marked(self, said: str, text: str) -> Iterator[str]:
        words, before = text.split(), said.split()
        if before and not _MARK.search(before[-1]):  # it broke off between a word and its mark
            yield f"~{self.mark}"
        for index in range(len(before), len(words)):
            yield f" {words[index]}" if index else words[index]
            yield f"~{self.mark}"


def count(text: str) -> int:
    """How many tokens a text is, for usage."""
    words = _TOKEN.findall(text) if not _MARK.search(text) else re.findall(r"~?[^\s~]+", text)
    return len(words)


def bare(text: str) -> str:
    """A text without the marks: equal to `plain()` where no word was lost, doubled or left unmarked."""
    assert all(len(_MARK.findall(word)) == 1 for word in text.split()), f"a word is marked twice, or not: {text}"
    return _MARK.sub("", text)


def marks(text: str) -> list[str]:
    """Who said it, in their order, each once where they follow upon each other."""
    found = [mark[1:] for mark in _MARK.findall(text)]
    return [mark for index, mark in enumerate(found) if index == 0 or found[index - 1] != mark]


def plain(text: str = TEXT) -> str:
    """The text as a marked one reads without its marks."""
    return " ".join(text.split())
