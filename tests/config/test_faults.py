from __future__ import annotations

import copy
import pickle

import pytest

from farm.config import ConfigErrors, load_config
from farm.config.faults import Faults, refusal
from farm.errors import ConfigError


def refuse(*errors: ConfigError) -> None:
    raise ConfigErrors(errors)


def test_paths_are_joined_as_faults_rise() -> None:
    outer, inner = Faults(), Faults()
    with outer.at("collectors"):
        with inner.at("[1]"):
            refuse(ConfigError("streams[0]", "is bad"), ConfigError("", "is worse"))
        with inner.at("[2]"):
            refuse(*refusal("is no table").errors)
        inner.raise_any()
    outer.add([ConfigError("data", "is no path")])
    with pytest.raises(ConfigErrors) as caught:
        outer.raise_any()
    assert str(caught.value).splitlines() == [
        "collectors[1].streams[0]: is bad",
        "collectors[1]: is worse",
        "collectors[2]: is no table",
        "data: is no path",
    ]
    assert (caught.value.path, caught.value.message) == ("collectors[1].streams[0]", "is bad")


def test_no_fault_raises_nothing_and_other_errors_pass() -> None:
    faults = Faults()
    with pytest.raises(KeyError), faults.at("numbers"):
        raise KeyError("a bug")
    faults.raise_any()


def test_a_whole_report_can_be_pickled_and_copied() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config({"numbers": 7})
    caught.value.add_note("in mine.toml")
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(again) is ConfigErrors
        assert str(again) == str(caught.value)
        assert [error.path for error in again.errors] == ["collectors", "numbers"]
        assert (again.path, again.message) == (caught.value.path, caught.value.message)
        assert again.__notes__ == ["in mine.toml"]
