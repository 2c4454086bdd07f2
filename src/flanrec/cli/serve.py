"""``flanrec serve``: the service over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flanrec.cli.config import SERVICE, ConfigOption, layered
from flanrec.cli.options import DeviceOption, EngineOption
from flanrec.cli.stores import open_store
from flanrec.errors import CheckpointError, SettingsError
from flanrec.serving.logs import log_to_stderr

if TYPE_CHECKING:
    from flanrec.serving.http.app import Page


def serve(
    model: Annotated[
        list[str],
        typer.Option(
            "--model", help="A saved recommender: a folder, or NAME=FOLDER. Repeatable; the first is the default."
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            help="A SQLite file, or postgresql://USER@HOST/NAME; FOLDER.store.db by default.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond this machine, keys are needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = 8000,
    need_keys: Annotated[bool, typer.Option("--need-keys", help="Ask for API keys on this machine too.")] = False,
    models: Annotated[
        Path | None, typer.Option("--models", help="Folder of saved recommenders that may be loaded while it runs.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option("--golden", help="JSON file of requests that a model must answer well to be served.")
    ] = None,
    notice: Annotated[
        float, typer.Option("--notice", min=0, help="Seconds from not being ready to not listening, after SIGTERM.")
    ] = 0.0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the model; by default all cores but one.")
    ] = None,
    studio: Annotated[
        bool, typer.Option("--studio", help="Serve a page at /studio, to look at lists, the catalogue and the traffic.")
    ] = False,
    device: DeviceOption = "auto",
    engine: EngineOption = "torch",
    config: ConfigOption = None,
) -> None:
    """Serve recommendations over HTTP."""
    folders = _folders(model)
    if studio and find_spec("gradio") is None:
        raise SettingsError("the studio needs gradio: pip install 'flanrec[studio]', or leave --studio out")
    log_to_stderr()
    kept = open_store(store or f"{next(iter(folders.values())).resolve()}.store.db")
    try:
        import torch

        from flanrec.serving.golden import read_golden
        from flanrec.serving.server import keys_needed, listening_at, run
        from flanrec.serving.service import Service
        from flanrec.serving.settings import ServeSettings

        torch.set_num_threads(threads or max(1, torch.get_num_threads() - 1))
        settings = layered(ServeSettings(), SERVICE, config, {})
        requests = () if golden is None else read_golden(golden)
        keys, at = keys_needed(kept, host, need_keys), listening_at(host, port)
        service = Service(kept, folders, settings, requests, device, models, engine)
        run(service, at, host, keys=keys, notice_seconds=notice, pages=_pages(studio))
    finally:
        kept.close()


def _pages(studio: bool) -> list[Page]:
    if not studio:
        return []
    from flanrec.studio import mount

    return [mount]


def _folders(given: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for one in given:
        name, _, folder = one.partition("=") if "=" in one and not Path(one).exists() else ("", "", one)
        name = name or ("default" if len(given) == 1 else Path(folder).name)
        if name in found:
            raise SettingsError(f"two models are named {name}; name them by --model NAME=FOLDER")
        if not Path(folder).is_dir():
            raise CheckpointError(f"There is no folder {folder}. Check the path.")
        found[name] = Path(folder)
    return found
