"""What screens with jobs can do to them: one place for the table's screen and a job's own."""

from operator import is_
from typing import TYPE_CHECKING

import msgspec

from daemon.core.job import Job
from daemon.wire.messages import Act, RequestError, Show
from tui.monitor import orders
from tui.monitor.link import LostError
from tui.monitor.screens.frame import Frame
from tui.text import CLEANED_CHARS_MAX, clean, counted, cut
from tui.wording import state_shown

if TYPE_CHECKING:
    from tui.monitor.orders import Verb


class Acting(Frame):
    """Actions on the chosen jobs. Subclasses say which those are."""

    _lent = False
    """Whether an editor has the terminal."""

    def chosen(self) -> list[Job]:
        """The jobs that an action means."""
        return []

    def under_cursor(self) -> Job | None:
        """The one job that is looked at."""
        return None

    # ---- what asks first ----

    def action_cancel(self) -> None:
        """Cancel, after a question that names the jobs and their money."""
        self._confirm("cancel", self.chosen())

    def action_requeue(self) -> None:
        """Requeue, after the same question."""
        self._confirm("requeue", self.chosen())

    def action_requeue_failed(self) -> None:
        """Requeue every failed job that is listed."""
        jobs = self.monitor.board.jobs
        listed = (jobs.get(number) for number in self.monitor.view.ids)
        failed = [job for job in listed if job is not None and job.state == "failed"]
        if not failed:
            self.monitor.say("no failed job is listed", "yellow")
            return
        self._confirm("requeue", failed)

    def _confirm(self, verb: "Verb", jobs: list[Job]) -> None:
        if not jobs:
            self.monitor.say(f"{verb}: there is no job here", "yellow")
            return
        from tui.monitor.screens.confirm import Confirm  # noqa: PLC0415  when it is first needed

        known, seen, asked = self.monitor.board, jobs, orders.question(verb, jobs)

        def again() -> orders.Question:
            nonlocal seen, asked
            now = [known.jobs.get(job.id, job) for job in jobs]
            if not all(map(is_, now, seen)):
                seen, asked = now, orders.question(verb, now)
            return asked

        def act(agreed: bool | None) -> None:
            if not agreed:
                self.monitor.say("nothing was changed")
                return
            # One whose result came meanwhile would be paid for again, and nobody agreed to that.
            states = tuple({job.state: None for job in seen}) if verb == "requeue" else ()
            ids = tuple(job.id for job in jobs)
            self.monitor.errands.act(Act(verb=verb, jobs=ids, states=states))

        self.app.push_screen(Confirm(asked, again), act)

    # ---- what doesn't ----

    def action_hold(self) -> None:
        """Hold the chosen jobs; if all of them are held, as far as is seen, release them."""
        jobs, seen = self._unasked("hold"), self.monitor.frozen or {}
        held = bool(jobs) and all(seen.get(job.id, job).state == "held" for job in jobs)
        self._do("release" if held else "hold", jobs)

    def action_approve(self) -> None:
        """Approve what was held for approval."""
        self._do("approve", self._unasked("approve"))

    def action_raise(self) -> None:
        """Let the chosen jobs go before others."""
        self.monitor.errands.reprioritize(self._unasked("priority"), orders.PRIORITY_STEP)

    def action_lower(self) -> None:
        """Let others go before the chosen jobs."""
        self.monitor.errands.reprioritize(self._unasked("priority"), -orders.PRIORITY_STEP)

    def _unasked(self, what: str) -> list[Job]:
        """The chosen jobs, if any of them is to be seen; else that is said, and there are none."""
        jobs, view = self.chosen(), self.monitor.view
        if not jobs:
            self.monitor.say(f"{what}: there is no job here", "yellow")
        elif self.under_cursor() not in jobs and view.unseen == len(view.marks):
            way_out = "esc lists all, u takes the marks away"
            self.monitor.say(f"{what}: no marked job is listed: {way_out}", "yellow")
            return []
        return jobs

    def _do(self, verb: "Verb", jobs: list[Job]) -> None:
        if len(jobs) > orders.UNASKED_MAX and verb != "hold":
            self._confirm(verb, jobs)
        elif jobs:
            self.monitor.errands.act(Act(verb=verb, jobs=tuple(job.id for job in jobs)))

    def action_resolve(self) -> None:
        """Decide about a job that may have been paid for."""
        job = self.under_cursor()
        if job is None or job.state != "in_doubt":
            self.monitor.say("only a job IN DOUBT is resolved", "yellow")
            return
        from tui.monitor.screens.resolve import Resolving  # noqa: PLC0415  when it is first needed

        known = self.monitor.board

        def resolved(act: Act | None) -> None:
            if act is not None:
                self.monitor.errands.act(act)
            else:
                now = known.jobs.get(job.id, job)
                self.monitor.say(f"job {job.id} is {state_shown(now).text}; nothing was changed")

        self.app.push_screen(Resolving(job, lambda: known.jobs.get(job.id)), resolved)

    def action_edit(self) -> None:
        """Lend the terminal to the operator's editor, with the job in it."""
        job = self.under_cursor()
        if job is None or job.state not in ("queued", "held"):
            self.monitor.say("only a queued or held job is edited", "yellow")
            return
        self.run_worker(self._edit(job.id), exit_on_error=True)

    async def _edit(self, number: int) -> None:
        from tui.monitor.editing import edit  # noqa: PLC0415  when it is first needed

        if self._lent:
            return  # two keys that came at once: one editor is enough
        self._lent = True
        try:
            with self.app.suspend():
                edited, said = await edit(number, self.monitor.feed.path)
        finally:
            self._lent = False
        self.action_redraw()
        done = f"job {number}: the editor was left"
        self.monitor.say(said or done, "green" if edited else "yellow")

    # ---- asking and copying ----

    def action_why(self) -> None:
        """Say in a sentence why the job is where it is."""
        job = self.under_cursor()
        if job is not None:
            self.monitor.errands.why(job.id)

    def action_error(self) -> None:
        """Show the last error in full."""
        job = self.under_cursor()
        if job is None or job.error is None:
            self.monitor.say("no error", "dim")
            return
        from tui.monitor.screens.reading import Reading  # noqa: PLC0415  when it is first needed

        self.app.push_screen(Reading.error(job))

    def action_copy_id(self) -> None:
        """Copy the ids of the chosen jobs."""
        ids = " ".join(str(job.id) for job in self.chosen())
        if ids:
            self._copy(ids, f"copied {cut(ids, 40)}")

    def action_copy_request(self) -> None:
        """Copy what was asked of the provider, as JSON."""
        self._copy_of_whole(_request)

    def action_copy_path(self) -> None:
        """Copy the path of the first result."""
        self._copy_of_whole(_path)

    def _copy_of_whole(self, part: "orders.Part") -> None:
        job = self.under_cursor()
        if job is not None:
            self.run_worker(self._copy_when_read(job.id, part), exit_on_error=True)

    async def _copy_when_read(self, number: int, part: "orders.Part") -> None:
        try:
            whole = msgspec.json.decode(await self.monitor.feed.ask(Show(job=number)), type=Job)
        except (LostError, RequestError, msgspec.DecodeError) as error:
            self.monitor.say(str(error), "red")
            return
        text = part(whole)
        if text is None:
            self.monitor.say(f"job {number} has no result yet", "yellow")
        else:
            self._copy(text, f"copied {counted(len(text), 'character')}")

    def _copy(self, text: str, said: str) -> None:
        """To the terminal's clipboard, whole and cleaned: nothing in it acts where it is pasted."""
        starts = range(0, len(text), CLEANED_CHARS_MAX)
        pieces = (clean(text[start : start + CLEANED_CHARS_MAX]) for start in starts)
        self.app.copy_to_clipboard("".join(pieces))
        self.monitor.say(said)


def _request(job: Job) -> str | None:
    wanted = {"provider": job.provider, "prompt": job.prompt, "params": job.params}
    images = [image.source for image in job.images]
    return msgspec.json.encode({**wanted, "images": images} if images else wanted).decode()


def _path(job: Job) -> str | None:
    return job.outputs[0].path if job.outputs else None
