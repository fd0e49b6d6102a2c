"""JupyterLab's settings: answers that do not wait, no request to the network, nobody's other settings lost."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from traitlets.config import Config

from helpers import lab
from tests.support import refused

NEWS = "@jupyterlab/apputils-extension:notification"


def test_both_files_are_written_where_jupyter_looks(tmp_path: Path):
    begin = f"import runpy, sys; sys.prefix = {str(tmp_path)!r}; runpy.run_module('helpers.lab', run_name='__main__')"
    told = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, check=True).stdout
    server, overrides = tmp_path / lab.SERVER, tmp_path / lab.LAB
    assert str(server) in told and str(overrides) in told
    connection = {"kernel_websocket_connection_class": "helpers.lab.PromptConnection"}
    assert json.loads(server.read_text())["ServerApp"] == connection
    assert json.loads(overrides.read_text())[NEWS] == {"fetchNews": "false", "checkForUpdates": False}
    assert json.loads(overrides.read_text())["@jupyterlab/notebook-extension:tracker"]["showHiddenCellsButton"] is True
    asked = "from jupyter_core.paths import ENV_CONFIG_PATH as c, ENV_JUPYTER_PATH as d; print(c[0]); print(d[0])"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    config, data = answer.stdout.splitlines()
    assert Path(sys.prefix, lab.SERVER).parent == Path(config)
    assert Path(sys.prefix, lab.LAB).is_relative_to(data)


def test_what_stood_there_stays_and_twice_is_once(tmp_path: Path):
    server = tmp_path / lab.SERVER
    server.parent.mkdir(parents=True)
    server.write_text('{"ServerApp": {"port": 9999}, "Other": {"x": 1}}')
    lab.write_settings(tmp_path)
    first = server.read_text()
    lab.write_settings(tmp_path)
    assert server.read_text() == first
    content = json.loads(first)
    assert content["Other"] == {"x": 1} and content["ServerApp"]["port"] == 9999
    assert sorted(p.name for p in server.parent.iterdir()) == [server.name]


@pytest.mark.parametrize("damaged", ["{", "[1]", '{"ServerApp": 3}', '"text"', "null", "[" * 10**5])
def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path: Path, damaged: str):
    server = tmp_path / lab.SERVER
    server.parent.mkdir(parents=True)
    server.write_text(damaged)
    refused(r"jupyter_server_config.*should hold a JSON object", lab.write_settings, tmp_path)
    assert server.read_text() == damaged and not (tmp_path / lab.LAB).exists()


def test_a_link_where_a_file_is_written_first_is_not_followed(tmp_path: Path):
    overrides, theirs = tmp_path / lab.LAB, tmp_path / "theirs"
    overrides.parent.mkdir(parents=True)
    theirs.write_text("mine")
    overrides.with_name(f".{overrides.name}.unfinished").symlink_to(theirs)
    lab.write_settings(tmp_path)
    assert theirs.read_text() == "mine" and not overrides.is_symlink() and NEWS in json.loads(overrides.read_text())


def test_the_machines_own_python_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    refused("activate the environment", lab.main, error=SystemExit)
    assert not list(tmp_path.iterdir())
    (tmp_path / "conda-meta").mkdir()  # conda's base looks the same, and is an environment
    lab.main()
    assert (tmp_path / lab.SERVER).exists()


def test_a_connection_sends_at_once(monkeypatch: pytest.MonkeyPatch):
    done = []
    handler = Mock(spec=KernelWebsocketHandler)
    handler.set_nodelay.side_effect = lambda value: done.append(value)
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: done.append("connected") or "as before")
    monkeypatch.setattr(lab.PromptConnection, "websocket_handler", handler)
    assert lab.PromptConnection.connect(lab.PromptConnection.__new__(lab.PromptConnection)) == "as before"
    assert done == [True, "connected"]


def test_the_server_takes_the_class_by_its_name():
    app = ServerApp()
    app.update_config(Config(lab.settings()[lab.SERVER]))
    assert app.kernel_websocket_connection_class is lab.PromptConnection
