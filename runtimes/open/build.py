r"""Builds the signed runtime archive: the open engine with all it needs to run.

    python runtimes/open/build.py --output dist --signer vendor.pem --key vendor.key

The archive is made from the distributions installed beside this interpreter, so what is built
is what was tested. The same distributions and the same key give the same bytes, except for the
time inside the signature. The manifest can be signed anew with nothing but OpenSSL:

    openssl cms -sign -binary -md sha256 -outform DER -signer vendor.pem -inkey vendor.key \
        -in META-INF/manifest.json -out META-INF/manifest.p7s
"""

import argparse
import hashlib
import importlib.util
import json
import marshal
import re
import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from packaging.requirements import Requirement

DEFAULT_ID = "1.0.0.1-linux64-x64"
TITLE = "Open runtime"
ROOTS = ("highspy", "numpy", "pydantic", "starlette", "typing-extensions", "uvicorn", "websockets")
ENGINE = Path(__file__).parent / "src" / "slipway_open"
SITE = PurePosixPath("site-packages")
MANIFEST = "META-INF/manifest.json"
SIGNATURE = "META-INF/manifest.p7s"

# A ZIP cannot say anything earlier, and a date of the build would make each build another one.
FIXED_TIME = (1980, 1, 1, 0, 0, 0)

# Tests, stubs, headers and build tools: nothing that a running model could import.
LEFT_OUT = re.compile(
    r"(^|/)(tests?|__pycache__|include|f2py|distutils|_pyinstaller)/"
    r"|\.(pyi|pyx|pxd|h|c|a|cpp|exe|build|ini|toml)$"
    r"|\.dist-info/(RECORD|INSTALLER|REQUESTED|WHEEL|direct_url\.json|entry_points\.txt|sboms/)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for <id>.zip")
    parser.add_argument("--signer", type=Path, required=True, help="certificate (PEM) and chain")
    parser.add_argument("--key", type=Path, required=True, help="its private key (PEM)")
    parser.add_argument("--id", default=DEFAULT_ID)
    options = parser.parse_args()
    chain = x509.load_pem_x509_certificates(options.signer.read_bytes())
    key = serialization.load_pem_private_key(options.key.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        parser.error("the key is neither RSA nor EC")
    entries = runtime_entries(options.id)
    entries[MANIFEST] = manifest(options.id, entries)
    entries[SIGNATURE] = signature(entries[MANIFEST], chain, key)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / f"{options.id}.zip"
    write_archive(target, entries)
    size = target.stat().st_size / 1e6
    sys.stdout.write(f"{target.name}: {len(entries)} entries, {size:.1f} MB\n")


def runtime_entries(runtime_id: str) -> dict[str, bytes]:
    """Give the content of every entry but the manifest and its signature."""
    entries = dict(engine_files())
    for item in closure(ROOTS):
        entries.update(distribution_files(item))
    entries.update(compiled(entries))
    entries["runtime.json"] = json.dumps(
        {
            "schema": 1,
            "id": runtime_id,
            "title": TITLE,
            "command": ["{python}", "-sSP", "-m", "slipway_open"],
            "pythonPath": [str(SITE)],
            "preload": True,
        }
    ).encode()
    return entries


def closure(roots: Iterable[str]) -> list[Distribution]:
    """Follow what each distribution requires on this machine, without extras."""
    found: dict[str, Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        found[key] = distribution(name)
        for text in found[key].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return [found[key] for key in sorted(found)]


def distribution_files(item: Distribution) -> Iterable[tuple[str, bytes]]:
    for file in item.files or ():
        path = PurePosixPath(file)
        if ".." in path.parts or path.is_absolute() or LEFT_OUT.search(str(path)):
            continue
        yield str(SITE / path), Path(str(item.locate_file(file))).read_bytes()


def engine_files() -> Iterable[tuple[str, bytes]]:
    for path in ENGINE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(SITE / "slipway_open" / path.relative_to(ENGINE)), path.read_bytes()


def compiled(entries: dict[str, bytes]) -> Iterable[tuple[str, bytes]]:
    """Compile every module, for a session that starts on a freshly unpacked runtime.

    The result is bound to the source by a hash in place of a time, and is not checked against
    it: both are covered by the same signature. An interpreter of another version compiles anew.
    """
    for name, source in tuple(entries.items()):
        if not name.endswith(".py"):
            continue
        shown = name.removeprefix(f"{SITE}/")
        code = compile(source, shown, "exec", dont_inherit=True, optimize=0)
        # The layout of PEP 552: magic, flags (bit 0: by hash), hash of the source, code.
        content = (
            importlib.util.MAGIC_NUMBER
            + (1).to_bytes(4, "little")
            + importlib.util.source_hash(source)
            + marshal.dumps(code)
        )
        path = PurePosixPath(name)
        cache = f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        yield str(path.parent / "__pycache__" / cache), content


def manifest(runtime_id: str, entries: dict[str, bytes]) -> bytes:
    files = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
    document = {"schema": 1, "id": runtime_id, "files": files}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def signature(
    content: bytes,
    chain: list[x509.Certificate],
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> bytes:
    """Sign with signed attributes, detached; the chain above the signer goes along."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(chain[0], key, hashes.SHA256())
    for certificate in chain[1:]:
        builder = builder.add_certificate(certificate)
    options = [
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.NoCapabilities,
    ]
    return builder.sign(serialization.Encoding.DER, options)


def write_archive(target: Path, entries: dict[str, bytes]) -> None:
    """Write sorted entries with a fixed time into a file that can seek: no data descriptors."""
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, entries[name])
    partial.replace(target)


if __name__ == "__main__":
    main()
