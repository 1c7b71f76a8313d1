"""`genq completion`: a script that makes the shell complete verbs and options."""

import argparse

from tui.console import Console
from tui.options import Parser

SHELLS = ("bash", "zsh", "fish")


def arguments(parser: Parser) -> None:
    """What `completion` takes."""
    parser.add_argument("shell", choices=SHELLS, metavar="bash|zsh|fish", help="whose language")
    parser.epilog = "example: genq completion bash > /etc/bash_completion.d/genq"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the script. Needs no daemon."""
    from tui.cli import VERBS, parser_of

    options = {name: _options(parser_of(name)) for name in VERBS}
    summaries = {name: verb.summary for name, verb in VERBS.items()}
    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    text = writers[asked.shell](options, summaries)
    if console.json:
        console.value({"shell": asked.shell, "script": text})
    else:
        console.lines(text.splitlines())
    return 0


def _options(parser: Parser) -> dict[str, str]:
    """The long options of a verb, each with its help."""
    return {
        word: (action.help or "")
        for action in parser._actions  # noqa: SLF001 - argparse has no other list of them
        for word in action.option_strings
        if word.startswith("--")
    }


def _bash(options: dict[str, dict[str, str]], summaries: dict[str, str]) -> str:
    cases = "\n".join(
        f"        {name}) words={_quoted(' '.join(words))} ;;" for name, words in options.items()
    )
    return f"""# bash completion for genq
_genq() {{
    local words current=${{COMP_WORDS[COMP_CWORD]}}
    if [ "$COMP_CWORD" -eq 1 ]; then
        words={_quoted(" ".join(summaries))}
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        *) words= ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _genq genq"""


def _zsh(options: dict[str, dict[str, str]], summaries: dict[str, str]) -> str:
    verbs = "\n".join(f"        {_quoted(f'{name}:{text}')}" for name, text in summaries.items())
    cases = "\n".join(
        f"    {name}) compadd -- {' '.join(words)} ;;" for name, words in options.items()
    )
    return f"""#compdef genq
_genq() {{
    local -a verbs
    verbs=(
{verbs}
    )
    if (( CURRENT == 2 )); then
        _describe command verbs
        return
    fi
    case $words[2] in
{cases}
    esac
    _files
}}
compdef _genq genq"""


def _fish(options: dict[str, dict[str, str]], summaries: dict[str, str]) -> str:
    lines = ["# fish completion for genq"]
    for name, text in summaries.items():
        lines.append(f"complete -c genq -n __fish_use_subcommand -f -a {name} -d {_quoted(text)}")
    for name, words in options.items():
        for word, text in words.items():
            there = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c genq -n {there} -l {word[2:]} -d {_quoted(text)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """`text` for a shell, in single quotes."""
    inner = text.replace("'", "'\\''")
    return f"'{inner}'"
