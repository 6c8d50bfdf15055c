"""The same functions as tools for language models, asked by the protocol's own client."""

from __future__ import annotations

import asyncio
import json
from ast import literal_eval
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import state
from tests.ui.asking import CAPTION
from tests.ui.conftest import Outside, serve
from tests.ui.test_api import SNAPSHOT


@pytest.fixture(scope="module")
def tools(pipe: MemoryDrivenPipeline, outside: Outside) -> Iterator[str]:
    """Serve the page; return the address of its MCP server."""
    state.use(pipe)
    page, address = serve(pipe)
    yield f"{address}gradio_api/mcp/"
    page.close(verbose=False)


def ask(address: str, name: str = "", **values: object) -> Any:
    """Return what a tool answers, or without a name the tools."""

    async def talk() -> Any:
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            if not name:
                return (await session.list_tools()).tools
            return await session.call_tool(name, values)

    with ThreadPoolExecutor(1) as thread:  # the main one may hold the browser's event loop
        return thread.submit(lambda: asyncio.run(talk())).result()


def test_tools_are_the_endpoints(tools: str) -> None:
    described = json.loads(SNAPSHOT.read_text("utf-8"))["named_endpoints"]
    listed = ask(tools)
    assert {f"/{tool.name}" for tool in listed} == set(described)
    for tool in listed:
        wanted = {each["parameter_name"] for each in described[f"/{tool.name}"]["parameters"]}
        assert set(tool.inputSchema["properties"]) == wanted
        assert tool.description


def test_a_tool_answers_as_the_pipeline(tools: str, pipe: MemoryDrivenPipeline) -> None:
    answer = ask(tools, "retrieve", caption=CAPTION, strategy="sentence-sentence", k=2)
    assert not answer.isError
    found = literal_eval(answer.content[0].text)  # Gradio answers as Python writes values
    assert tuple(each["id"] for each in found) == pipe.retrieve(CAPTION, "sentence-sentence", 2).ids


def test_a_tool_refuses_as_the_endpoint(tools: str) -> None:
    answer = ask(tools, "retrieve", caption="", strategy="sentence-sentence", k=2)
    assert answer.isError
    assert "wanted" in answer.content[0].text
