from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import app


def test_defaults_stay_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    options = app.read_options([])
    assert (options.host, options.port, options.share) == ("127.0.0.1", 7860, False)
    assert options.checkpoint == [Path(app.__file__).resolve().parent / "checkpoints" / "aviary"]
    assert app.read_options(["--checkpoint", "a", "--checkpoint", "b"]).checkpoint == [Path("a"), Path("b")]
    assert not options.no_browser
    monkeypatch.setenv("SPACE_ID", "someone/birds")
    options = app.read_options(["--device", "cpu"])
    assert (options.host, options.no_browser, options.device) == ("0.0.0.0", True, "cpu")


def test_missing_checkpoint_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["--checkpoint", str(tmp_path / "none"), "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert "no such folder" in told
    assert "Traceback" not in told


def test_taken_port_is_told_without_a_traceback(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdriven.ui.app.build", lambda pipe, alone: pipe)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # set by the app for its own process
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["--checkpoint", str(tiny_checkpoint), "--no-browser", "--port", port]
        assert app.main([*arguments, "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert port in told
    assert "Traceback" not in told


def test_what_is_not_installed_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "memdriven.pipeline.pipeline", None)
    assert app.main([]) == 2
    assert "requirements.txt" in capsys.readouterr().err


def test_a_started_app_asks_no_proxy_and_leaves_no_temporary_files(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Gradio asks its own server at the start, through any proxy: here one that is not there."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    left = tmp_path / ".memdriven.scratch-dead" / "upload.png"  # of an app that was killed
    left.parent.mkdir()
    left.touch()
    command = [sys.executable, app.__file__, "--no-browser", "--port", "0", "--device", "cpu"]
    run = subprocess.Popen(
        [*command, "--checkpoint", str(tiny_checkpoint)],
        env=os.environ | proxies | {"no_proxy": "example.org", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        assert any("memdriven is at" in line for line in run.stdout)
        if os.name == "nt":  # no locks and no SIGTERM there
            run.terminate()
            return
        (own,) = tmp_path.glob(".memdriven.scratch-*")
        assert own != left.parent
        (own / "upload.png").touch()
        run.terminate()
        assert run.wait(120) == 0
    assert not list(tmp_path.glob(".memdriven*"))
