"""Interpreters that find the same farm: asked for real, from places where it is not easy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import farm
from farm.cluster.interpreter import this_interpreter
from farm.errors import ShardError

ROOT = Path(farm.__file__).parent.parent

# Starts another interpreter as a shard is started, and prints where that finds farm.
SCRIPT = """
import subprocess, sys
{before}
from farm.cluster.interpreter import this_interpreter
from farm.errors import ShardError
try:
    interpreter = this_interpreter()
except ShardError as error:
    sys.exit(str(error))
code = "import farm, types, sys; print(farm.__file__); assert types.FunctionType"
command = [*interpreter.command, "-c", code]
subprocess.run(command, env=interpreter.environment(), check=True)
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What one test asked is not the answer of another."""
    this_interpreter.cache_clear()
    yield
    this_interpreter.cache_clear()


def run_script(
    before: str, cwd: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    script = cwd / "user.py"
    script.write_text(SCRIPT.format(before=before))
    return subprocess.run(
        [sys.executable, *options, script],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def linked(directory: Path) -> Path:
    """A directory that holds farm, and is on nobody's path."""
    directory.mkdir(parents=True)
    (directory / "farm").symlink_to(ROOT / "farm")
    return directory


def test_where_farm_is_installed_no_directory_is_added() -> None:
    interpreter = this_interpreter()
    assert interpreter.command[0] == sys.executable
    assert interpreter.directories == ()
    assert interpreter.environment() == os.environ


def test_a_module_of_the_user_does_not_pass_for_one_of_pythons(tmp_path: Path) -> None:
    for name in ("types.py", "msgspec.py", "farm.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    result = run_script("", tmp_path, "-P")
    assert (result.stdout, result.stderr) == (f"{ROOT / 'farm' / '__init__.py'}\n", "")


def test_a_directory_that_the_program_put_on_its_path_is_handed_on(tmp_path: Path) -> None:
    place = linked(tmp_path / "lib")
    before = f"sys.path.insert(0, {str(place)!r})"
    user = tmp_path / "user"
    user.mkdir()
    (user / "types.py").write_text("raise SystemExit('the wrong one')")
    result = run_script(before, user, "-P", PYTHONPATH=str(tmp_path / "other"))
    assert (result.stdout, result.stderr) == (f"{place / 'farm' / '__init__.py'}\n", "")


def test_a_relative_directory_is_handed_on_as_it_is_now(tmp_path: Path) -> None:
    place = linked(tmp_path / "lib")
    before = "import os; sys.path.insert(0, 'lib'); import farm; os.chdir('/')"
    result = run_script(before, tmp_path)
    assert (result.stdout, result.stderr) == (f"{place / 'farm' / '__init__.py'}\n", "")


def test_the_directory_of_a_script_is_handed_on_where_farm_lies_there(tmp_path: Path) -> None:
    place = linked(tmp_path / "project")
    result = run_script("", place)
    assert (result.stdout, result.stderr) == (f"{place / 'farm' / '__init__.py'}\n", "")


def test_a_site_directory_of_others_is_refused(tmp_path: Path) -> None:
    place = linked(tmp_path / "site-packages")
    result = run_script(f"sys.path.insert(0, {str(place)!r})", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"farm was imported from {place}, where {sys.executable}")
    assert result.stderr.endswith("or use processes = 1\n")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda patch: patch.setattr(os, "name", "nt"), "need a Unix system"),
        (lambda patch: patch.setattr(sys, "executable", ""), "part of another program"),
        (lambda patch: patch.setattr(sys, "executable", None), "part of another program"),
        (lambda patch: patch.setattr(sys, "frozen", True, raising=False), "part of another"),
        (lambda patch: patch.setattr(sys, "executable", "/bin/true"), "does not start as one"),
        (lambda patch: patch.setattr(sys, "executable", "/bin/false"), "does not start as one"),
        (lambda patch: patch.setattr(sys, "executable", "/no/such"), "does not start as one"),
    ],
)
def test_where_there_can_be_no_shard_it_says_why(
    monkeypatch: pytest.MonkeyPatch, change: object, text: str
) -> None:
    assert callable(change)
    with monkeypatch.context() as patch:
        change(patch)
        with pytest.raises(ShardError, match=text) as caught:
            this_interpreter()
    assert str(caught.value).endswith("use processes = 1")
