"""A refused key pauses its provider until somebody does something: another key is enough."""

from pathlib import Path

from tests.fakes.shared_studio import SharedStudio
from tests.fakes.vendors.cogvideox import KEY, CogVideoXServer
from tests.fakes.vendors.server import answers

REFUSED = {"error": {"code": "1000", "message": "Authentication Failed"}}


async def test_a_changed_key_opens_the_gate_that_the_old_one_closed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("an-old-key.that-expired")
    file.chmod(0o600)
    common = {
        "engine": "cogvideox",
        "api_key": {"file": str(file)},
        "allow_networks": ["127.0.0.0/8"],
        "poll_interval_s": 0.05,
    }
    studio = SharedStudio(tmp_path, common)
    async with CogVideoXServer(processing=1) as vendor, vendor.store:
        vendor.will("submit", answers(401, REFUSED))
        try:
            await studio.provider("studio", vendor.target)
            job = await studio.add("studio", "--prompt", "a fox runs")
            await studio.paused("studio", "auth")

            await studio.provider("studio", vendor.target)  # a reload, the key as it was
            assert (await studio.gate("studio"))["state"] == "closed"

            file.write_text(KEY)
            await studio.provider("studio", vendor.target)
            assert (await studio.until(job, "succeeded", "failed"))["state"] == "succeeded"
            assert list(vendor.accepted.values()) == [1]
        finally:
            await studio.kill()
