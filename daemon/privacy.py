"""What the daemon keeps for itself holds prompts: it is for its user and its group alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OTHERS_UMASK = 0o027


@contextmanager
def private_files(*folders: Path) -> Iterator[None]:
    """Files that this process makes inside are 0640 at most, folders 0750: whoever makes them,
    SQLite too. `folders` are made first, if they aren't there; what is there keeps its mode.

    The umask may be narrower still; it is afterwards what it was. Raises OSError.
    """
    before = os.umask(OTHERS_UMASK)
    os.umask(before | OTHERS_UMASK)
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        os.umask(before)
