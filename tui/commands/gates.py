"""`genq pause` and `genq resume`: an operator closes and opens the gates of providers."""

import argparse

from daemon.core.times import describe_when
from daemon.wire.messages import Pause, Providers, Resume
from tui.clock import stamp
from tui.console import Console
from tui.options import Parser, UsageError, moment
from tui.selection import check_provider
from tui.session import Session, connect
from tui.text import clean


def pause_arguments(parser: Parser) -> None:
    """What `pause` takes."""
    _provider_arguments(parser)
    parser.options.add_argument(
        "--until", metavar="TIME", help="resume by itself: ISO 8601, HH:MM, +90s, +10m, +2h, +1d"
    )
    why = "why, for whoever asks why jobs wait"
    parser.options.add_argument("--reason", metavar="TEXT", default="", help=why)
    parser.epilog = "example: genq pause veo --until 08:00"


def resume_arguments(parser: Parser) -> None:
    """What `resume` takes."""
    _provider_arguments(parser)
    parser.epilog = "example: genq resume veo"


def _provider_arguments(parser: Parser) -> None:
    parser.add_argument(
        "providers", metavar="PROVIDER", nargs="*", help="the providers; without one: all"
    )


def pause(asked: argparse.Namespace, console: Console) -> int:
    """Stop submits; what is under way goes on."""
    until_at = moment(asked.until, "--until", console.clock)
    now = console.clock.now()
    if until_at is not None and until_at <= now:
        raise UsageError(f"--until: {stamp(console.clock, until_at)} is past")
    until = ""
    if until_at is not None:
        until = f" until {stamp(console.clock, until_at)}, {describe_when(until_at, now)}"
    with connect(asked, console) as session:
        _check_providers(asked, session)
        request = Pause(providers=tuple(asked.providers), until_at=until_at, reason=asked.reason)
        return _tell(session.request(request), console, "paused", until)


def resume(asked: argparse.Namespace, console: Console) -> int:
    """Open what an operator, a quota or a fault closed."""
    with connect(asked, console) as session:
        _check_providers(asked, session)
        value = session.request(Resume(providers=tuple(asked.providers)))
        return _tell(value, console, "resumed", "")


def _check_providers(asked: argparse.Namespace, session: Session) -> None:
    if asked.providers:
        known = session.request(Providers())
        for name in asked.providers:
            check_provider(name, known)


def _tell(
    value: dict[str, list[dict[str, str]] | list[str]], console: Console, done: str, until: str
) -> int:
    changed, refused = value["changed"], value["refused"]
    if console.json:
        console.value({"changed": changed, "refused": refused})
    else:
        for name in changed:
            console.line(clean(f"{done} {name}{until}"))
        if not changed and not refused:
            console.note(f"no provider had to be {done}")
    for one in refused:
        if isinstance(one, dict):
            console.note(clean(f"refused: {one['why']}"))
    return 1 if refused else 0
