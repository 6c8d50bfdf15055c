"""Start the app: `python app.py`, then look at http://127.0.0.1:7860.

Also the entry of a Hugging Face Space, where the platform says on which address to listen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKPOINT = Path(__file__).resolve().parent / "checkpoints" / "aviary"


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description="Pictures from words, with a memory you can look into.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    on_space = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_space else "127.0.0.1")
    parser.add_argument("--host", default=host, help="address to listen on; 0.0.0.0 lets other machines in")
    parser.add_argument(
        "--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="port to listen on"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="folder with a model and its memory; may be given several times, and the page also "
        "offers the checkpoints beside it; checkpoints/aviary when none is given",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--share", action="store_true", help="also open a public link through Gradio's servers"
    )
    parser.add_argument(
        "--no-browser", action="store_true", default=on_space, help="do not open a browser window"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that the page may be asked for by, such as a proxy's; * for any",
    )
    parser.add_argument(
        "--frame-ancestor",
        action="append",
        default=["https://huggingface.co"] if on_space else [],
        metavar="SITE",
        help="a site that may show the page in a frame",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        default=on_space,
        help="believe the X-Forwarded headers of a proxy in front",
    )
    options = parser.parse_args(arguments)
    options.checkpoint = options.checkpoint or [CHECKPOINT]
    return options


def main(arguments: list[str] | None = None) -> int:
    """Load the checkpoint, build the page, and serve it until it is stopped; return the exit code."""
    options = read_options(arguments)
    print("Loading the model and the page: some ten seconds.", flush=True)
    try:
        return serve(options)
    except ImportError as error:  # also of what a SOCKS proxy in the environment needs
        fix = "python -m pip install -r requirements.txt, or what is said here"
        return failed("the packages of requirements.txt", str(error), fix)
    except KeyboardInterrupt:
        return 130


def failed(wanted: str, found: str, fix: str) -> int:
    """Say why the app does not start."""
    lines = ("memdriven cannot start.", f"wanted: {wanted}", f"found:  {found}", f"do:     {fix}")
    print("\n  ".join(lines), file=sys.stderr)
    return 2


def serve(options: argparse.Namespace) -> int:
    """Do what `main` does, once it has read its options."""
    from memdriven.errors import MemDrivenError
    from memdriven.files import print_what_cannot_be_printed, scratch_of
    from memdriven.pipeline.pipeline import MemoryDrivenPipeline

    print_what_cannot_be_printed()
    try:
        # What Gradio lays down is gone with this page, and at the next start if this one is killed.
        folder = scratch_of(Path(tempfile.gettempdir(), "memdriven"), Path.mkdir)
        # Reading weights leaves Python's lock free: the page's library is imported meanwhile.
        with folder as temporary, ThreadPoolExecutor(1) as beside:
            os.environ["GRADIO_TEMP_DIR"] = str(temporary)
            loading = beside.submit(
                MemoryDrivenPipeline.from_pretrained, options.checkpoint[0], options.device
            )
            from memdriven.ui import app, server, state

            pipe = loading.result()
            offered = state.ModelRegistry(state.find_checkpoints(options.checkpoint), options.device)
            offered.put(pipe)
            who = {
                "share": options.share,
                "allowed": ["*"] if "SPACE_ID" in os.environ else options.allowed_host,
                "forwarded": options.behind_proxy,
            }
            app.serve(
                app.build(offered, alone=server.served_alone(options.host, **who)),
                host=options.host,
                port=options.port,
                browser=not options.no_browser,
                frames=options.frame_ancestor,
                **who,
            )
    except MemDrivenError as error:
        return failed(error.wanted, error.found, error.fix)
    except OSError as error:
        print(
            f"memdriven cannot serve at {options.host}:{options.port}: {error}\n"
            "  do:     choose another --port, or stop what uses it",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
