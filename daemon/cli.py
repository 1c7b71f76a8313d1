"""`genqd`: the daemon, and what its administrator needs. Imports wait until a verb uses them."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from daemon import __version__, failpoints
from daemon.core.suggest import did_you_mean

if TYPE_CHECKING:
    from daemon.config import Flags

VERBS = ("run", "config", "doctor", "backup", "restore")
LEVELS = ("debug", "info", "warning", "error")
EX_OK, EX_FAILED, EX_USAGE = 0, 1, 2
EX_DATAERR, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 65, 73, 75, 78


class _Parser(argparse.ArgumentParser):
    """Exits with 2, the text on stderr, and a suggestion for a verb that is nearly one."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `genqd`; returns the exit code (interfaces.md 1)."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(_with_verb(words))
    try:
        if failpoints.arm(os.environ):
            sys.stderr.write("genqd: a failpoint is set: this process may kill itself\n")
    except (failpoints.FailpointError, OSError) as error:
        return _fail(EX_CONFIG, _said(error))
    try:
        match args.verb:
            case "run":
                return _run(args)
            case "config":
                return _config(args)
            case "doctor":
                return _doctor(args)
            case "backup":
                return _backup(args)
            case _:
                return _restore(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_OK


def _with_verb(words: list[str]) -> list[str]:
    """`genqd --mock` means `genqd run --mock`; an unknown verb is answered with the nearest."""
    if words and words[0] in ("-h", "--help", "--version"):
        return words
    if not words or words[0].startswith("-"):
        return ["run", *words]
    if words[0] not in VERBS:
        hint = did_you_mean(words[0], VERBS)
        sys.stderr.write(f"genqd: unknown command {words[0]!r}{hint}\n")
        sys.stderr.write(f"commands: {', '.join(VERBS)}; see genqd --help\n")
        raise SystemExit(EX_USAGE)
    return words


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="genqd", description="genq's daemon: a queue for paid generation jobs")
    parser.add_argument("--version", action="version", version=f"genqd {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    run = verbs.add_parser("run", help="run the daemon in the foreground (the default)")
    _add_places(run)
    run.add_argument("--log-level", default="info", choices=LEVELS)
    _add_config(verbs)
    doctor = verbs.add_parser("doctor", help="what could keep the daemon from its work")
    _add_places(doctor)
    doctor.add_argument("--json", action="store_true")
    backup = verbs.add_parser("backup", help="copy the journal, checked, while it is in use or not")
    _add_places(backup)
    backup.add_argument("--to", type=Path, metavar="FILE", help="where to (default: beside it)")
    restore = verbs.add_parser("restore", help="put a backup in the journal's place")
    _add_places(restore)
    restore.add_argument("file", type=Path, metavar="FILE")
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE")
    for name in ("state-dir", "output-dir", "log-dir"):
        parser.add_argument(f"--{name}", metavar="DIR")
    parser.add_argument("--socket", metavar="PATH")
    parser.add_argument(
        "--mock", action="store_true", help="contact no provider: the mock plays all"
    )


def _add_config(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    config = verbs.add_parser("config", help="write, check or show the configuration")
    actions = config.add_subparsers(dest="action", required=True, parser_class=_Parser)
    init = actions.add_parser("init", help="print a commented template, or write it")
    init.add_argument("--to", type=Path, metavar="FILE", help="a new file; never over one")
    check = actions.add_parser("check", help="list every problem; exit 78 if there is one")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE")
    show = actions.add_parser("show", help="the values that count, without keys")
    show.add_argument("--sources", action="store_true", help="where each value comes from")
    show.add_argument("--json", action="store_true")
    for action in (check, show):
        _add_places(action)


def _flags(args: argparse.Namespace) -> "Flags":
    from daemon.config import Flags

    return Flags(
        config=args.config,
        state_dir=args.state_dir,
        output_dir=args.output_dir,
        log_dir=args.log_dir,
        socket=args.socket,
        mock=args.mock,
    )


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"genqd: {message}\n")
    return code


_WAY_OUT = "mend its owner or mode, or name another: --state-dir, --output-dir, --log-dir"


def _said(error: Exception) -> str:
    """What went wrong, in the words of people: the file, then why."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _run(args: argparse.Namespace) -> int:
    from daemon.app import App
    from daemon.assembly import AssemblyError
    from daemon.config import ConfigError, load
    from daemon.lock import LockHeldError
    from daemon.serving.binding import BindError
    from daemon.store.port import StoreDamagedError, StoreError, StoreUnwritableError

    flags = _flags(args)
    try:
        loaded = load(flags, os.environ, Path.cwd())
        app = App(loaded, flags, os.environ, Path.cwd(), level=args.log_level)
        fatal = asyncio.run(app.run())
    except (ConfigError, AssemblyError) as error:
        return _fail(EX_CONFIG, str(error))
    except LockHeldError as error:
        return _fail(EX_TEMPFAIL, f"{error}; `genq status` shows it")
    except BindError as error:
        return _fail(EX_TEMPFAIL, str(error))
    except StoreDamagedError as error:
        return _fail(EX_DATAERR, str(error))
    except (StoreUnwritableError, PermissionError, FileExistsError, NotADirectoryError) as error:
        return _fail(EX_CANTCREAT, f"{_said(error)}: {_WAY_OUT}")
    except (StoreError, OSError) as error:
        return _fail(EX_CANTCREAT, _said(error))
    if fatal is None:
        return EX_OK
    return _fail(EX_DATAERR if isinstance(fatal, StoreDamagedError) else EX_FAILED, str(fatal))


def _config(args: argparse.Namespace) -> int:
    from daemon import commands_config
    from daemon.assembly import engine_rules, script_problems

    match args.action:
        case "init":
            return commands_config.init(args.to)
        case "check":
            return commands_config.check(args.file or args.config, engine_rules, script_problems)
        case _:
            return commands_config.show(_flags(args), sources=args.sources, as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    from daemon.doctor import diagnose, report

    return report(diagnose(_flags(args), os.environ, Path.cwd()), as_json=args.json)


def _backup(args: argparse.Namespace) -> int:
    from daemon.maintenance import backup

    return backup(_flags(args), args.to)


def _restore(args: argparse.Namespace) -> int:
    from daemon.maintenance import restore

    return restore(_flags(args), args.file)


if __name__ == "__main__":
    sys.exit(main())
