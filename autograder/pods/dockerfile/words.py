"""Words of an instruction: quotes, variables, lists in JSON.

Source: Docker's ``shell.Lex`` and ``parseWords``, whose rules these are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

DEEPEST = 20  # ${A:-${B:-…}}
LONGEST = 32 << 10
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unreadable(Exception):
    """Why a word has no meaning, as a clause."""


def expand(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """A word without its quotes, and with the values of variables. Raises Unreadable."""
    found, _ = _expand(word, 0, "", env, escape, 0)
    return found


def _expand(text: str, at: int, stop: str, env: Mapping[str, str], escape: str, depth: int) -> tuple[str, int]:
    """``text`` from ``at`` to an unquoted ``stop`` or the end, and where that is."""
    if depth > DEEPEST:
        raise Unreadable("too many ${…} inside each other")
    out: list[str] = []
    size = 0
    quote = ""
    while at < len(text):
        character = text[at]
        piece = character
        if quote == "'":
            quote, piece = ("", "") if character == "'" else (quote, character)
            at += 1
        elif stop and character == stop and not quote:
            return "".join(out), at + 1
        elif character == '"' or (character == "'" and not quote):
            quote, piece = ("", "") if quote else (character, "")
            at += 1
        elif character == "$":
            piece, at = _variable(text, at + 1, env, escape, depth)
        elif character == escape:
            following = text[at + 1 : at + 2]
            piece = following if not quote or following in ('"', "$", escape) else character + following
            at += 2
        else:
            at += 1
        out.append(piece)
        size += len(piece)
        if size > LONGEST:
            raise Unreadable("a value becomes too long")
    if quote:
        raise Unreadable(f"a {quote} is never closed")
    if stop:
        raise Unreadable("a ${ is never closed")
    return "".join(out), at


def _variable(text: str, at: int, env: Mapping[str, str], escape: str, depth: int) -> tuple[str, int]:
    """The value of the variable whose name, or brace, is at ``at``; and where its end is."""
    if text[at : at + 1] != "{":
        match = NAME.match(text, at)
        if match is None:
            return "$", at
        return env.get(match[0], ""), match.end()
    match = NAME.match(text, at + 1)
    if match is None:
        raise Unreadable(f"{text[at - 1 : at + 12]!r} names no variable")
    name, at = match[0], match.end()
    if text[at : at + 1] == "}":
        return env.get(name, ""), at + 1
    how = text[at : at + 2]
    if how not in (":-", ":+"):
        raise Unreadable(f"${{{name}{how} is not understood; ${{{name}}}, ${{{name}:-word}} and ${{{name}:+word}} are")
    word, at = _expand(text, at + 2, "}", env, escape, depth + 1)
    value = env.get(name, "")
    return ((value or word) if how == ":-" else (word if value else "")), at


def split(text: str, escape: str = "\\") -> list[str]:
    """Words between blanks, with their quotes still on."""
    found: list[str] = []
    word = ""
    quote = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if word:
                found.append(word)
            word = ""
            at += 1
            continue
        word += character
        at += 1
    return [*found, word] if word else found


def pairs(text: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Names and values of ENV and LABEL, with their quotes still on. Raises Unreadable."""
    words = split(text, escape)
    if words and "=" not in words[0]:
        name, *rest = text.split(None, 1)
        if not rest:
            raise Unreadable("a name needs a value: NAME=value")
        return [(name, rest[0])]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Unreadable(f"{word[:60]!r} is no NAME=value; a value with blanks needs quotes")
        if not name:
            raise Unreadable("a name may not be empty")
        found.append((name, value))
    return found


def listed(text: str) -> tuple[str, ...] | None:
    """The words of a list in JSON; ``None`` when it is none, and so is meant for a shell. Raises Unreadable."""
    if not text.startswith("["):
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in found):
        raise Unreadable("a list may hold nothing but strings in double quotes")
    if any("\0" in word or any("\ud800" <= character <= "\udfff" for character in word) for word in found):
        raise Unreadable("a word holds what no program can be given")
    return tuple(found)
