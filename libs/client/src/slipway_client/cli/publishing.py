"""From a project folder to an app in the catalogue."""

from datetime import datetime
from pathlib import Path
from typing import IO, Annotated
from uuid import uuid4

import typer

from slipway_client.cli.failures import CommandError, Exit
from slipway_client.cli.options import DEFAULT_PROFILE, AsJson, ProfileName, connected
from slipway_client.cli.output import Output
from slipway_client.client import Slipway
from slipway_client.errors import SlipwayProblem, UnreachableError
from slipway_client.pack import PackedApp, pack, sealed_file
from slipway_client.packages import runtime_identity, sealed_identity
from slipway_client.project import SUFFIX
from slipway_common.contracts.problems import Code
from slipway_common.contracts.views import PackageState, PackageView

_LARGEST = 10


def _report(app: PackedApp, output: Output) -> None:
    output.say(
        f"{app.name} {app.version}: {len(app.files)} files, {app.size:,} bytes,"
        f" {app.packed_size:,} packed"
    )
    largest = sorted(app.files, key=lambda file: file.size, reverse=True)
    width = max(len(f"{file.size:,}") for file in largest)
    for file in largest[:_LARGEST]:
        output.say(f"  {file.size:>{width},}  {file.name}")
    if len(largest) > _LARGEST:
        rest = sum(file.size for file in largest[_LARGEST:])
        output.say(f"  {rest:>{width},}  in {len(largest) - _LARGEST} smaller files")


def pack_folder(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    target: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File or folder to write; here if not given."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Certificate to seal for, if the platform is not to be asked."),
    ] = None,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Pack a project folder and seal it, so that only the platform can read it."""
    output = Output(as_json=as_json)
    with pack(folder) as app:
        _report(app, output)
        pem = certificate.read_bytes() if certificate else _certificate(profile)
        path = target or Path()
        path = path / app.file_name if path.is_dir() else path
        draft = path.with_name(f".{uuid4().hex}{SUFFIX}")
        try:
            with draft.open("xb") as file:
                _seal(app, pem, file)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        output.result(
            {
                "name": app.name,
                "version": app.version,
                "path": str(path),
                "size_bytes": path.stat().st_size,
                "archive_sha256": app.sha256,
                "files": [
                    {"name": f.name, "size": f.size, "packed_size": f.packed_size}
                    for f in app.files
                ],
            },
            str(path),
        )


def _certificate(profile: str) -> bytes:
    with connected(profile, anonymous=True) as client:
        return client.seal()


def _seal(app: PackedApp, certificate: bytes, file: IO[bytes]) -> None:
    try:
        app.seal(certificate, file)
    except ValueError as error:
        raise CommandError(
            "seal", "The certificate to seal for cannot be read.", code=Exit.UNAVAILABLE
        ) from error


def publish(
    path: Annotated[
        Path,
        typer.Argument(
            exists=True, help="A project folder, a packed app (.slipway) or a runtime (.zip)."
        ),
    ],
    wait: Annotated[
        bool, typer.Option(help="Wait until it is ready, or rejected with reasons.")
    ] = True,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Publish an app or a runtime.

    A version is published once. A folder whose content is published already is left as it is;
    one that has changed needs a new version in its slipway.toml.
    """
    output = Output(as_json=as_json)
    with connected(profile) as client:
        if path.is_dir():
            package = _publish_folder(client, path, output)
        elif path.suffix == ".zip":
            runtime_id = runtime_identity(path)
            with output.transfer(f"Uploading runtime {runtime_id}") as report:
                package = client.packages.publish_runtime(
                    path, runtime_id=runtime_id, progress=report
                )
        else:
            name, version = sealed_identity(path)
            with output.transfer(f"Uploading {name} {version}") as report:
                package = client.packages.publish_app(
                    path, name=name, version=version, progress=report
                )
        if wait:
            package = _await_verdict(client, package, output)
    _show(package, output)


def _publish_folder(client: Slipway, folder: Path, output: Output) -> PackageView:
    with pack(folder) as app, sealed_file() as sealed:
        _report(app, output)
        if (published := _published(client, app)) is not None:
            if published.sha256 == app.sha256:
                output.say("This very content is published already; nothing is to be done.")
                return published
            raise CommandError(
                Code.VERSION_EXISTS.slug,
                f"{app.name} {app.version} is published with other content. A published version"
                " never changes: raise version in slipway.toml.",
                code=Exit.CONFLICT,
            )
        _seal(app, client.seal(), sealed)
        with output.transfer(f"Uploading {app.name} {app.version}") as report:
            return client.packages.publish_app(
                sealed, name=app.name, version=app.version, progress=report
            )


def _published(client: Slipway, app: PackedApp) -> PackageView | None:
    try:
        return client.packages.get(client.apps.get(app.name, version=app.version).package_id)
    except SlipwayProblem as problem:
        if problem.slug in {Code.NOT_FOUND.slug, Code.APP_NOT_FOUND.slug}:
            return None
        raise


def _await_verdict(client: Slipway, package: PackageView, output: Output) -> PackageView:
    if package.state is not PackageState.PROCESSING:
        return package
    with output.line("The platform checks the package"):
        try:
            for change in client.packages.watch(package.id, after=package.revision):
                package = change
        except (KeyboardInterrupt, UnreachableError):
            output.say(f"The package {package.id} is uploaded and will be judged all the same.")
            raise
    return package


def _show(package: PackageView, output: Output) -> None:
    what = f"{package.name} {package.version}" if package.kind == "app" else package.name
    match package.state:
        case PackageState.READY:
            output.result(package, f"{what} is published.")
        case PackageState.PROCESSING:
            output.result(package, f"{what} is uploaded; package {package.id}.")
        case PackageState.REJECTED:
            reasons = [f"- {reason.message} ({reason.code})" for reason in package.reasons]
            output.result(package, "\n".join([f"{what} is rejected:", *reasons]))
            raise typer.Exit(Exit.FAILED)


def list_apps(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List the apps that you can launch."""
    with connected(profile) as client:
        found = list(client.apps.list())
    Output(as_json=as_json).table(
        {"items": found},
        ("App", "Title", "Runtime", "Services", "Published"),
        [
            (
                f"{app.name}@{app.version}{' (latest)' if app.latest else ''}",
                app.title,
                app.runtime,
                " ".join(service.name for service in app.services),
                day(app.published_at),
            )
            for app in found
        ],
    )


def list_runtimes(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List the runtimes that apps can name."""
    with connected(profile) as client:
        found = list(client.runtimes.list())
    Output(as_json=as_json).table(
        {"items": found},
        ("Runtime", "Title", "Signed by", "Published"),
        [(each.id, each.title, each.signer, day(each.published_at)) for each in found],
    )


def day(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
