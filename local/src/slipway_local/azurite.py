"""Azurite, the emulator of Azure's Blob storage, fetched from npm.

It writes its index to disk every few seconds and when it is stopped: a kill can
take with it what was stored in the last moments, as no real storage would.
"""

import signal
from collections.abc import Callable
from pathlib import Path

from slipway_local.cache import installed
from slipway_local.files import PRIVATE_FOLDER
from slipway_local.ports import LOOPBACK
from slipway_local.program import Program, http_status
from slipway_local.settings import Settings
from slipway_local.tools import NODE, NPM, Tool, require

RELEASE = "3.35.0"
ACCOUNT = "devaccount"

FETCH_SECONDS = 900.0
START_SECONDS = 60.0
STOP_SECONDS = 15.0


class Azurite:
    """Blob storage with one account."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        account_key: str,
        log: Path,
        record: Path,
        settings: Settings,
    ) -> None:
        """``account_key`` is 64 random bytes in base64."""
        self._folder = folder
        self._port = port
        self._account_key = account_key
        self._settings = settings
        self._program = Program(self.name, log=log, record=record)

    @property
    def name(self) -> str:
        return "azurite"

    @property
    def connection_string(self) -> str:
        fields = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": ACCOUNT,
            "AccountKey": self._account_key,
            "BlobEndpoint": self.shown_address,
        }
        return "".join(f"{name}={value};" for name, value in fields.items())

    @property
    def address(self) -> str:
        return self.connection_string

    @property
    def shown_address(self) -> str:
        return f"http://{LOOPBACK}:{self._port}/{ACCOUNT}"

    @property
    def pid(self) -> int | None:
        return self._program.pid

    @property
    def log(self) -> Path:
        return self._program.log

    async def prepare(self, note: Callable[[str], None]) -> None:
        await self._module(note)

    async def start(self) -> None:
        if self.pid is not None:
            return
        module = await self._module(lambda _: None)
        self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        await self._program.start(
            [
                *(str(require(NODE, self._settings)), str(module)),
                *("--blobHost", LOOPBACK, "--blobPort", str(self._port)),
                *("--location", str(self._folder)),
                *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
            ],
            environment={
                **self._settings.inherited,
                "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self._account_key}",
            },
            ports=[self._port],
            ready=self._answers,
            seconds=START_SECONDS,
            folder=self._folder,
        )

    async def stop(self) -> None:
        await self._program.stop(signal_number=signal.SIGTERM, grace=STOP_SECONDS)

    async def kill(self) -> None:
        await self._program.kill(with_descendants=True)

    async def _answers(self) -> bool:
        # Refused for want of a signature, but answered.
        return await http_status(self._port, f"/{ACCOUNT}?comp=list") > 0

    async def _module(self, note: Callable[[str], None]) -> Path:
        async def fetch(target: Path) -> None:
            npm = require(NPM, self._settings)
            note(f"fetching Azurite {RELEASE} with npm")
            await self._program.run_once(
                [
                    *(str(npm), "install", "--prefix", str(target), "--omit=dev"),
                    *("--ignore-scripts", "--no-audit", "--no-fund"),
                    f"azurite@{RELEASE}",
                ],
                environment=self._settings.full,
                seconds=FETCH_SECONDS,
                folder=target,
            )

        folder = await installed(self._settings.cache_folder, cache_name(), fetch)
        return folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def needed_tools(settings: Settings) -> list[Tool]:
    """The second is only needed until Azurite lies in the cache."""
    return [NODE] if (settings.cache_folder / cache_name()).is_dir() else [NODE, NPM]


def cache_name() -> str:
    return f"azurite-{RELEASE}"
