"""The page as a whole: its header, its columns, its look, and how it is served."""

import ctypes
import signal
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import (
    api,
    compare,
    copies,
    diversity,
    gr,
    history,
    html,
    inside,
    learn,
    memory_map,
    morph,
    order,
    paper,
    picture,
    query,
    queue,
    state,
)
from memdriven.ui.html import panel
from memdriven.ui.server import OwnServerOnly, free_port, served_hosts
from memdriven.ui.state import ModelRegistry

SESSIONS = 500
"""Browser tabs and callers whose state is kept, the longest unused forgotten first."""
M_ARENA_MAX = -8
"""Of malloc.h: how many heaps threads share. Each of Gradio's would keep what a picture took in its own."""
SANS = ("Inter", "Helvetica Neue", "Segoe UI", "Roboto", "Liberation Sans", "Arial", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")


def build(offered: MemoryDrivenPipeline | ModelRegistry, *, alone: bool = False) -> gr.Blocks:
    """Build the page for a loaded pipeline, or several to switch between; nothing is served yet.

    Visitors may let a page that is reached from this machine `alone` fetch VGG-16.
    """
    state.use(offered)
    state.alone = alone
    begin = picture.opening()
    with order.Page(
        title="memdriven", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True
    ) as page:
        arrival = panel(html.render("head"), elem_id="header", js_on_load=html.script("address.js"))
        with gr.Row(elem_id="page"):
            column = query.build(begin)
            # What the preview of the references depends on.
            page.question = column.named("caption", "source", "comparison", "k", "steering")
            page.status_line = column.status
            with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
                column.tabs = tabs
                picture.build(column, begin)
                for tab in (diversity, compare, inside, morph, copies, memory_map):
                    tab.build(column)
                history.build(column, arrival)
                learn.build(column)
                paper.build(column)
        queue.tell(column.place)
        queue.stop_with(column)
        api.build()
    queued: gr.Blocks = page.queue(max_size=queue.QUEUE_SIZE, default_concurrency_limit=1, api_open=False)
    return queued


def theme() -> gr.themes.Base:
    """Return a theme of fonts that the visitor has, and of the style sheet's own colours."""
    quiet = gr.themes.Base(
        primary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        font=list(SANS),
        font_mono=list(MONO),
        radius_size=gr.themes.sizes.radius_md,
    )
    colours = {
        "body_background_fill": "paper",
        "body_text_color": "ink",
        "background_fill_primary": "surface",
        "border_color_primary": "line",
        "input_background_fill": "surface",
        "input_border_color": "line",
        "slider_color": "memory",
        "block_label_text_color": "quiet",
    }
    both = {f"{name}{dark}": f"var(--md-{each})" for name, each in colours.items() for dark in ("", "_dark")}
    return quiet.set(**both)


def still(page: gr.Blocks, css: str) -> str:
    """Return the page as it opens, a picture of itself in HTML, which stands until its scripts have run.

    It is made of the page's own components and style sheet and lies over the page while that is put together:
    where both look alike, nothing moves when it goes. Its tree is closed (a shadow root), so that neither its
    style nor its names meet the page's. A page that will show something else, as a link or a reload asks for
    (`address.js`), has none, and shows no picture before its own.
    """
    # Gradio puts its frame's class before every rule of the page's.
    framed = (".gradio-container", ":where(.gradio-container)")
    for name, here in ((":root", ":host"), (".dark", ":host(.dark)"), framed):
        css = css.replace(name, here)
    css += files("memdriven.ui").joinpath("still.css").read_text("utf-8")
    return html.render("still", page=page.children, css=css, script=html.script("still.js"))


def launch(
    page: gr.Blocks,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    share: bool = False,
    browser: bool = False,
    allowed: Sequence[str] = (),
    frames: Sequence[str] = (),
    forwarded: bool = False,
) -> str:
    """Serve the page from a background thread and return its address.

    Args:
        page: what `build` gave.
        host: address to listen on.
        port: 0 takes a free one.
        share: also open a public tunnel through Gradio's servers.
        browser: open the page in the visitor's browser.
        allowed: further names that the page may be asked for by: a proxy's, a Space's; `*` for any.
        frames: sites that may show the page in a frame.
        forwarded: believe the headers of a proxy in front.
    """
    port = free_port(host, port)
    with suppress(AttributeError, OSError, TypeError):  # where the C library is glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    # A public tunnel has a name that is not known before.
    hosts = ("*",) if share else served_hosts(host, allowed)
    static = files("memdriven.ui")
    styles = [static.joinpath(name).read_text("utf-8") for name in ("page.css", "tabs.css", "inside.css")]
    look_alike = still(page, styles[0])
    gate = Middleware(OwnServerOnly, hosts=hosts, frames=frames, forwarded=forwarded, still=look_alike)
    _, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=browser,
        quiet=True,
        prevent_thread_lock=True,
        theme=theme(),
        css="\n".join(styles),
        js=static.joinpath("page.js").read_text("utf-8"),
        footer_links=[],
        ssr_mode=False,
        mcp_server=find_spec("mcp") is not None,  # an extra: the endpoints as tools
        enable_monitoring=False,
        run_history=False,
        pwa=False,
        allowed_paths=[],
        max_file_size="1mb",
        state_session_capacity=SESSIONS,
        show_error=False,
        favicon_path=Path(__file__).with_name("favicon.svg"),
        app_kwargs={"middleware": [gate, Middleware(queue.StreamEnds)]},
    )
    return str(public or local)


def serve(page: gr.Blocks, **options: Any) -> None:
    """Serve the page as `launch` does, say where, and return when it is stopped (Ctrl + C or SIGTERM)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"memdriven is at {launch(page, **options)}  (Ctrl + C stops it)", flush=True)
        page.block_thread()
    except KeyboardInterrupt:
        page.close(verbose=False)
