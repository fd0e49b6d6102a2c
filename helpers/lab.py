"""JupyterLab as the course wants it: answers come at once, no request leaves the machine, tables are large enough.

`python -m helpers.lab` writes this into the environment that it runs in; `make lab` has done so already.
"""

import json
import sys
from pathlib import Path

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

TABLES = "15px"  # Lab writes tables and menus at one size, 13 px, in its presentation mode too; text is at 17 px there
SERVER = "etc/jupyter/jupyter_server_config.json"
LAB = "share/jupyter/lab/settings/overrides.json"


class PromptConnection(ZMQChannelsWebsocketConnection):
    """The server's connection from a kernel to a page, which sends every message at once.

    By default the operating system holds a small message back while the one before is not acknowledged, and a page
    acknowledges up to 40 ms late: the kernel says "busy", and its answer to a key in a card waits for that.
    Source: Nagle 1984, RFC 896; Braden 1989, RFC 1122, section 4.2.3.2, on delayed acknowledgements.
    """

    def connect(self):
        self.websocket_handler.set_nodelay(True)
        return super().connect()


def settings() -> dict[str, dict]:
    """File below the environment's folder -> what has to stand in it."""
    return {
        SERVER: {"ServerApp": {"kernel_websocket_connection_class": "helpers.lab.PromptConnection"}},
        LAB: {
            "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
            "@jupyterlab/apputils-extension:themes": {"overrides": {"ui-font-size1": TABLES}},
            "@jupyterlab/notebook-extension:tracker": {"showHiddenCellsButton": True},  # opens a figure's folded code
        },
    }


def write_settings(environment: Path) -> list[Path]:
    """Write `settings` below `environment`; whatever else stands in those files stays. Returns the files.

    ValueError: a file that is there is no JSON object; nothing is written then.
    """
    merged = {environment / name: _merged(environment / name, new) for name, new in settings().items()}
    for path, content in merged.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.unlink(missing_ok=True)  # a link that lies there leads elsewhere
        with open(unfinished, "x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2) + "\n")
        unfinished.replace(path)
    return list(merged)


def _merged(path: Path, new: dict[str, dict]) -> dict:
    try:
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return old | {section: old.get(section, {}) | values for section, values in new.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} should hold a JSON object of sections, but {error}: repair it or move it away, then run this again"
        ) from error


def main() -> None:
    if sys.prefix == sys.base_prefix and not Path(sys.prefix, "conda-meta").is_dir():
        raise SystemExit(f"{sys.prefix} is the machine's own Python: activate the environment of the course first")
    try:
        written = write_settings(Path(sys.prefix))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print("JupyterLab's settings for the course:", *written, sep="\n  ")


if __name__ == "__main__":
    main()
