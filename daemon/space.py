"""Room on the disks, looked at now and then: nothing is bought that could not be kept.

What is paid for already goes on: it is noted in the ballast's place (store/reserve.py), and fetched
as long as there is any room at all.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from daemon.clock import Clock

log = structlog.get_logger()
FREE_BYTES_MIN = 64 * 1024 * 1024
"""With less than this free nothing is submitted; on a small disk, with one part in DISK_SHARE.

More than the reserve in either case: a start that had to spend it still finds the disk short.
"""
DISK_SHARE = 8
LOOK_EVERY_S = 5.0
FRESH_S = 0.5


class Disk(Protocol):
    """What is known of a disk, in bytes."""

    @property
    def total(self) -> int:
        """All there is."""

    @property
    def free(self) -> int:
        """What the daemon may still write."""


class Room:
    """Watches the disks of `folders`; `tell` hears why there is too little room, and None after.

    `measure` blocks, and raises OSError.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[str | None], None],
        *folders: Path,
        measure: Callable[[Path], Disk] = shutil.disk_usage,
    ) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._clock = clock
        self._tell = tell
        self._measure = measure
        self._short: dict[Path, str] = {}
        self._looked_at = float("-inf")
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Look now, and every LOOK_EVERY_S seconds, until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def check(self) -> None:
        """Return when what is known is at most FRESH_S seconds old: before something is bought."""
        async with self._turn:
            if self._clock.monotonic() - self._looked_at >= FRESH_S:
                await self.look()

    async def look(self) -> None:
        """Look once. A disk that was short has to have twice the least before it is trusted."""
        self._looked_at = self._clock.monotonic()
        before = dict(self._short)
        self._short = await asyncio.to_thread(self._looked, before)
        if self._short != before:
            self._tell(next(iter(self._short.values()), None))

    def _looked(self, before: dict[Path, str]) -> dict[Path, str]:
        return {
            folder: why
            for folder in self._folders
            if (why := self._shortage(folder, known=before.get(folder))) is not None
        }

    def _shortage(self, folder: Path, *, known: str | None) -> str | None:
        """Why nothing may be bought for `folder`, in the words that are `known` if it is so still.

        A disk that can't be measured is as it was.
        """
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder}: can't be written; submits wait until its owner, mode or mount allows"
        try:
            disk = self._measure(folder)
        except OSError as error:
            log.warning("room_unknown", folder=str(folder), error=str(error))
            return known
        least = min(FREE_BYTES_MIN, disk.total // DISK_SHARE)
        if disk.free >= (least if known is None else 2 * least):
            return None
        enough = f"{2 * least / 1e6:,.0f} MB"
        return known or f"{folder}: its disk is nearly full; submits wait until {enough} are free"
