"""Interrupts at the start of a command, and where the main thread hangs."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.interrupting import ANNOUNCED, LISTENING, command
from tests.cli.processes import FARM, PATIENCE
from tests.effort import moments

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(scope="module")
def imports() -> int:
    """How many modules are imported before a command begins."""
    code = ANNOUNCED + "import farm.cli, farm.cli.interrupt, farm.cli.app; print(imports.count)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return int(found.stdout)


@pytest.fixture
def silent_config(tmp_path: Path) -> Path:
    """A run that waits for a listing that never comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "farm.toml"
        path.write_text(
            'data = "data"\n[[collectors]]\nexchange = "binance"\nmarket = "spot"\n'
            'symbols = ["BTCUSDT"]\nstreams = ["trade"]\n'
            f'endpoints = {{ rest = "http://127.0.0.1:{server.getsockname()[1]}" }}\n'
            "[instruments]\nstart_seconds = 3600\n"
        )
        yield path


@pytest.mark.parametrize("times", [1, 2])
def test_at_any_import_an_interrupt_ends_the_start(
    tmp_path: Path, silent_config: Path, imports: int, times: int
) -> None:
    for moment in moments(4):
        before = f"""
def on_import(count):
    if count == {1 + moment * (imports - 1) // 3}:
        for _ in range({times}):
            os.kill(os.getpid(), signal.SIGINT)
"""
        with command(tmp_path / "out", "run", silent_config, before=before) as running:
            assert running.end() == 130
            assert running.out == ""
            assert running.err == LISTENING + "\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_before_a_command_says_what_to_do_ends_the_process(
    number: signal.Signals,
) -> None:
    code = "from farm.cli.interrupt import interrupts; interrupts.listen(); import os, time; "
    code += f"os.kill(os.getpid(), {number}); time.sleep({PATIENCE})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


@pytest.mark.parametrize("number", SIGNALS)
def test_what_was_ignored_at_the_start_stays_ignored(number: signal.Signals) -> None:
    """As a shell's script has it for its background jobs; the other signal is heard."""
    (other,) = set(SIGNALS) - {number}
    code = f"""
import os, signal, time
from farm.cli.interrupt import interrupts
interrupts.listen()
os.kill(os.getpid(), {number})
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(signal.getsignal({number}) is signal.SIG_IGN, {number} in blocked, flush=True)
os.kill(os.getpid(), {other})
time.sleep({PATIENCE})
"""
    name = number.name.removeprefix("SIG")
    script = f'trap \'\' {name}; exec "$0" -c "$1"'
    command = ["sh", "-c", script, sys.executable, code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "True False\n", "")


def test_what_another_thread_is_given_is_heard_too() -> None:
    code = f"""
import signal, threading, time
from farm.cli.interrupt import interrupts
other = threading.Thread(target=time.sleep, args=[{PATIENCE}], daemon=True)
other.start()  # before the signals are blocked, so that they are not in this one
interrupts.listen()
signal.pthread_kill(other.ident, signal.SIGINT)
while other.is_alive():
    time.sleep(0.01)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, b"")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_main_thread_that_hangs_is_left_after_the_second(
    tmp_path: Path, silent_config: Path, number: signal.Signals
) -> None:
    before = """
def fsync(descriptor):  # a disk that hangs where the data directory is opened
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(3600)

os.fsync = fsync
"""
    with command(tmp_path / "out", "run", silent_config, before=before) as running:
        running.wait_for("hanging")
        assert running.interrupt_until_it_ends(number) == 130


def test_the_cursor_is_shown_again() -> None:
    master, slave = pty.openpty()
    code = "from farm.cli.interrupt import interrupts; interrupts.listen(); import os, time; "
    code += f"os.kill(os.getpid(), 2); time.sleep({PATIENCE})"
    ended = subprocess.run([sys.executable, "-c", code], stdout=slave, check=False)
    assert ended.returncode == 130
    assert os.read(master, 100) == b"\x1b[?25h"
    os.close(master)
    os.close(slave)


def test_a_stopped_terminal_holds_nobody_up(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    arguments = ["demo", "--seconds", "600", "--data", str(tmp_path)]
    with subprocess.Popen(
        [*FARM, *arguments], stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}
    ) as process:
        try:
            shown = b""
            while b"binance/spot/BTCUSDT/trade" not in shown:
                shown += os.read(master, 10_000)
            termios.tcflow(slave, termios.TCOOFF)  # Ctrl-S
            end = time.monotonic() + PATIENCE
            while process.poll() is None:
                assert time.monotonic() < end
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            assert process.returncode == 130
        finally:
            process.kill()
    os.close(slave)
    os.close(master)
