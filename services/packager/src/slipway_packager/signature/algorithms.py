"""Which algorithms and keys a signature may use: a list of what is good, not of what is broken."""

from typing import Any, Final

from slipway_packager.signature.refusal import InvalidSignatureError

DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})

_KEYS: Final = {
    "rsassa_pkcs1v15": "rsa",
    "rsassa_pss": "rsa",
    "ecdsa": "ec",
    "ed25519": "ed25519",
}
_CURVES: Final = (("named", "secp256r1"), ("named", "secp384r1"))
_MIN_RSA_BITS: Final = 2048
# Larger keys cost whoever verifies far more than they add.
_MAX_RSA_BITS: Final = 8192


def check_digest(name: str) -> str:
    if name not in DIGESTS:
        raise InvalidSignatureError("algorithm", f"the digest {name} is not accepted")
    return name


def check_signature_algorithm(algorithm: Any, *, key: Any, digest: str | None) -> None:
    """Check one signature's algorithm against the key; ``digest`` is what CMS names beside it."""
    try:
        kind = algorithm.signature_algo
    except ValueError as error:
        raise InvalidSignatureError("algorithm", "the algorithm is not known") from error
    if kind not in _KEYS:
        raise InvalidSignatureError("algorithm", f"the algorithm {kind} is not accepted")
    if kind == "ed25519":
        # RFC 8419 pairs it with this digest, the one it uses itself.
        own = "sha512"
    elif algorithm["algorithm"].native == "rsassa_pkcs1v15":
        # CMS allows the bare name, and then takes the digest from beside it.
        own = digest or "none"
    else:
        own = algorithm.hash_algo
    if check_digest(own) != (digest or own):
        raise InvalidSignatureError("algorithm", "the signature names two digests")
    if kind == "rsassa_pss":
        _check_pss(algorithm["parameters"], digest=own)
    _check_key(key, kind=_KEYS[kind])


def _check_key(key: Any, *, kind: str) -> None:
    """Check that the public key is strong, and of the kind that the algorithm takes."""
    if key.algorithm != kind:
        raise InvalidSignatureError("key", "the key is not of the kind that the algorithm takes")
    if kind == "rsa" and not _MIN_RSA_BITS <= key.bit_size <= _MAX_RSA_BITS:
        raise InvalidSignatureError("key", f"an RSA key of {key.bit_size} bits is not accepted")
    if kind == "ec" and key.curve not in _CURVES:
        raise InvalidSignatureError("key", "a key on this curve is not accepted")


def _check_pss(parameters: Any, *, digest: str) -> None:
    mask = parameters["mask_gen_algorithm"]
    if (
        mask["algorithm"].native != "mgf1"
        or mask["parameters"]["algorithm"].native != digest
        or parameters["salt_length"].native < 32
        or parameters["trailer_field"].native not in {1, "trailer_field_bc"}
    ):
        raise InvalidSignatureError("algorithm", "these parameters of PSS are not accepted")
