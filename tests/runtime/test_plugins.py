"""Plug-ins: packages whose entry point kdnas imports at its start."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdnas.errors import KdnasError
from kdnas.runtime.plugins import load_plugins


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with an installed package `extra`, whose module has no content yet."""
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdnas.plugins]\nextra = kdnas_extra\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins.cache_clear()
    yield tmp_path
    load_plugins.cache_clear()
    sys.modules.pop("kdnas_extra", None)


def test_a_plugin_is_imported_once(site: Path) -> None:
    (site / "kdnas_extra.py").write_text("LOADED = True\n")
    load_plugins()
    assert sys.modules["kdnas_extra"].LOADED
    del sys.modules["kdnas_extra"]
    load_plugins()
    assert "kdnas_extra" not in sys.modules


def test_a_broken_plugin_is_named(site: Path) -> None:
    (site / "kdnas_extra.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(KdnasError, match=r"the plug-in 'extra' \(kdnas_extra\): ModuleNotFound"):
        load_plugins()
