from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientConnectionError, ClientResponse, ClientSession

if TYPE_CHECKING:
    from tests.fakes.replies import Replies

URL = "http://vendor.test/tasks"


async def test_a_canned_reply_arrives_with_status_headers_and_body(replies: Replies) -> None:
    replies.post(URL, status=429, payload={"code": 1302}, headers={"Retry-After": "7"})
    async with ClientSession() as session, session.post(URL, json={}) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert await response.json() == {"code": 1302}


async def test_a_canned_timeout_is_raised_in_the_caller(replies: Replies) -> None:
    replies.get(URL, timeout=True)
    async with ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.get(URL)


async def test_a_url_without_a_reply_reaches_nobody(replies: Replies) -> None:
    async with ClientSession() as session:
        with pytest.raises(ClientConnectionError):
            await session.get(URL)


async def test_the_repair_of_aioresponses_is_still_needed(replies: Replies) -> None:
    replies.get(URL, response_class=ClientResponse)
    async with ClientSession() as session:
        with pytest.raises(TypeError, match="stream_writer"):
            await session.get(URL)
