"""Which jobs a command means: states, a query, checked before the daemon is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from daemon.core.query import QueryError, parse_query, sort_key, state_word
from daemon.core.suggest import did_you_mean, shown
from tui.options import UsageError
from tui.text import clean, width


def checked_query(query: str | None, states: Sequence[str] = ()) -> str | None:
    """`query` narrowed to `states` (each `S,..`, in words of the JSON or the screen); None: all.

    Raises UsageError for what the grammar refuses, with the place marked.
    """
    terms = [query] if query else []
    if query:
        try:
            parse_query(query)
        except QueryError as error:
            raise UsageError(marked(query, error.at, f"bad query: {error}")) from None
    if words := [word for one in states for word in one.split(",")]:
        try:
            known = [state_word(word) for word in words]
        except QueryError as error:
            raise UsageError(f"--state: {error}") from None
        terms.append(f"state:{','.join(known)}")
    return " ".join(terms) or None


def checked_sort(key: str | None) -> str | None:
    """`key` if jobs can be sorted by it, with or without a dash. Raises UsageError."""
    if key is not None:
        try:
            sort_key(key.removeprefix("-"))
        except QueryError as error:
            raise UsageError(f"--sort: {error}") from None
    return key


def marked(query: str, at: int, message: str) -> str:
    """A message with the query under it, and a caret under the place."""
    return f"{message}\n  {clean(query)}\n  {' ' * width(clean(query[:at]))}^"


def check_provider(name: str, providers: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError, with the nearest one, if no provider is called so."""
    names = [str(provider["name"]) for provider in providers]
    if name not in names:
        near = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
        raise UsageError(f"unknown provider {shown(name)}{near}")
