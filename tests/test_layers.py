"""The layers of the house: imports point downward only, and the pure rooms need no Trio."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FARM = Path(__file__).parent.parent / "farm"

# From the bottom up; rooms of one layer may import one another only where `BESIDE` says so.
LAYERS: list[set[str]] = [
    {"types", "errors", "groups", "threads"},
    {"batch", "entities", "columns", "arrow", "bundle"},
    {"exchanges", "books", "config"},
    {"net", "storage", "monitor"},
    {"actors"},
    {"pipeline"},
    {"cluster"},
    {"api"},
    {"report"},
    {"cli"},
]
BESIDE = {
    "errors": {"types"},
    "entities": set(),
    "columns": {"entities"},
    "arrow": {"columns", "entities"},
    "batch": {"arrow", "columns", "entities"},
    "bundle": {"batch", "entities"},
    "books": {"exchanges"},
    "config": {"exchanges"},
}
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
PUBLIC = {"__init__"}  # the public names, which come from everywhere
TESTING = "testing"
PURE = ["farm.exchanges.registry", "farm.books.keeper", "farm.config", "farm.batch"]


def modules() -> list[Path]:
    return sorted(FARM.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(FARM).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names = [node.module]
            if node.module == "farm":
                names = [f"farm.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "farm" and len(parts) > 1:
                rooms.add(parts[1])
    return rooms


def violations(path: Path) -> list[str]:
    room = room_of(path)
    if room in PUBLIC or room == TESTING:
        return []
    found = []
    for target in imported_rooms(path) - {room, "__version__"}:
        if target == TESTING:
            found.append(f"{path}: imports testing")
        elif target not in LEVEL:
            found.append(f"{path}: {target} stands in no layer")
        elif LEVEL[target] > LEVEL[room]:
            found.append(f"{path}: {room} imports {target}, which lies above it")
        elif LEVEL[target] == LEVEL[room] and target not in BESIDE.get(room, set()):
            found.append(f"{path}: {room} imports {target} beside it")
    return found


def test_every_room_stands_in_a_layer() -> None:
    rooms = {room_of(path) for path in modules()} - PUBLIC - {TESTING, "examples"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(FARM)))
def test_imports_point_downward(path: Path) -> None:
    assert violations(path) == []


def test_an_upward_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FARM", tmp_path)
    for room, line in [("books", "from farm import pipeline"), ("net", "import farm.testing.x")]:
        file = tmp_path / room / "wrong.py"
        file.parent.mkdir()
        file.write_text(line)
        assert len(violations(file)) == 1


def foreign_imports(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    return {
        name.split(".")[0]
        for node in tree
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


@pytest.mark.parametrize("room", ["exchanges", "books"])
def test_pure_rooms_touch_no_socket(room: str) -> None:
    for path in (FARM / room).rglob("*.py"):
        assert not foreign_imports(path) & {"trio", "socket", "ssl", "asyncio", "time"}, path


def test_channels_are_made_by_pipeline_and_cluster_alone() -> None:
    channels = {"open_memory_channel", "Mailbox"}
    makers = {
        path.relative_to(FARM).parts[0]
        for path in modules()
        if path.relative_to(FARM).as_posix() != "actors/mailbox.py" and room_of(path) != TESTING
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split("[")[0].split(".")[-1] in channels
    }
    assert makers == {"pipeline", "cluster"}


@pytest.mark.parametrize("module", PURE)
def test_pure_rooms_import_with_trio_blocked(module: str) -> None:
    blocked = ["trio", "trio_websocket", "wsproto", "httpcore2", "h11"]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import importlib; "
    # The package's own __init__ names everything, so the room is imported beneath an empty one.
    code += (
        "import types; package = types.ModuleType('farm'); "
        f"package.__path__ = [{str(FARM)!r}]; sys.modules['farm'] = package; "
        f"importlib.import_module({module!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
