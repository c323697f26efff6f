from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from farm.config import CollectorConfig, ConfigErrors, FarmConfig, load_config, parse_toml
from tests.config.documents import collector, document, example_toml, faults


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm" / "ca.pem").write_text("PEM")
    file = tmp_path / "farm" / "farm.toml"
    file.write_text(
        'data = "../out"\n[[collectors]]\nexchange = "binance"\nmarket = "spot"\n'
        'symbols = ["BTCUSDT"]\nendpoints.ca_file = "ca.pem"\n'
    )
    monkeypatch.chdir(tmp_path)
    for source in (file, str(file), "farm/farm.toml"):
        config = load_config(source)
        assert config.data == tmp_path / "farm" / ".." / "out"
        assert config.collectors[0].endpoints.ca_file == tmp_path / "farm" / "ca.pem"
    assert load_config(config) == config


def test_paths_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_config(document(data="out")).data == tmp_path / "out"
    assert load_config(document(data="~/out")).data == tmp_path / "home" / "out"
    made = FarmConfig([CollectorConfig("binance", "spot", ["A"])], data=Path("out"))
    assert load_config(made).data == tmp_path / "out"
    assert load_config(document(data=str(tmp_path / "a"))).data == tmp_path / "a"


def test_no_such_home() -> None:
    found = faults(document(data="~nobody-by-this-name/x"))
    assert found == {"data": "'~nobody-by-this-name/x': no home directory is known for it"}


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    found = faults(
        {
            "collectors": [
                collector(endpoints={"ca_file": str(tmp_path / "none.pem")}),
                collector(symbols=["B"], endpoints={"ca_file": str(tmp_path)}),
            ]
        }
    )
    assert set(found) == {f"collectors[{index}].endpoints.ca_file" for index in (0, 1)}
    assert found["collectors[0].endpoints.ca_file"].endswith("No such file or directory")
    assert found["collectors[1].endpoints.ca_file"].endswith("Is a directory")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = [1\nb", "not valid TOML: Unclosed array (at line 2, column 1)"),
        (b"numbers 'float'", "(at line 1, column 9)"),
        (b"x = " + b"9" * 5000, "not valid TOML: Exceeds the limit"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"# fine\n# \xff", "not UTF-8 text: byte 0xff in line 2"),
    ],
)
def test_files_that_are_not_toml(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "farm.toml"
    file.write_bytes(content)
    found = faults(lambda: load_config(file))
    assert list(found) == [""]
    assert found[""].startswith(f"{file}: ")
    assert message in found[""]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert faults(lambda: load_config(missing)) == {
        "": f"{missing}: cannot be read: No such file or directory"
    }
    assert faults(lambda: load_config(str(tmp_path))) == {
        "": f"{tmp_path}: cannot be read: Is a directory"
    }
    assert "cannot be read: " in faults(lambda: load_config("a\0b"))[""]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "farm.toml"
    file.write_text(example_toml(), encoding="utf-8-sig")
    assert load_config(file) == attrs.evolve(
        parse_toml(example_toml()), data=tmp_path / "market-data"
    )


def test_errors_say_which_text_they_are_of() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_toml("collectors = []", name="mine.toml")
    assert caught.value.path == "collectors"
    assert caught.value.__notes__ == ["in mine.toml"]
    with pytest.raises(ConfigErrors, match=re.escape("mine.toml: not valid TOML: ")):
        parse_toml("=", name="mine.toml")
