"""Signatures on bundles: Ed25519 (RFC 8032) over the bytes of the manifest, which names every other file's sha256.

Keys are PEM files as OpenSSL writes them: ``openssl genpkey -algorithm ed25519``, ``openssl pkey -pubout``. A key's id
is the first 16 hexadecimal digits of the sha256 of its 32 public bytes.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models_store.settings import Settings

ALGORITHM = "Ed25519"
END = b"-----END PUBLIC KEY-----"


class KeyUnreadable(RuntimeError):
    """A file of keys is missing or holds something else."""


class SignatureRefused(ValueError):
    """A signature is missing, is by an unknown key, or does not match the content."""


@dataclass(frozen=True)
class Signer:
    """The holder of the private key."""

    key: Ed25519PrivateKey

    @classmethod
    def of(cls, path: Path) -> "Signer":
        """Raises `KeyUnreadable`."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _unreadable(path, error) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _unreadable(path, TypeError(f"it is not an {ALGORITHM} key"))
        return cls(key)

    @property
    def key_id(self) -> str:
        return _key_id(self.key.public_key())

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, content: bytes) -> dict[str, str]:
        """The document that `Trusted.check` takes."""
        signature = base64.b64encode(self.key.sign(content)).decode()
        return {"algorithm": ALGORITHM, "key_id": self.key_id, "signature": signature}


@dataclass(frozen=True)
class Trusted:
    """The trusted public keys. Without keys no signature is checked; `required` refuses unsigned bundles."""

    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    required: bool = False

    @classmethod
    def by(cls, settings: Settings) -> "Trusted":
        """The public keys of `verify_keys`, and of `signing_key` if it is configured. Raises `KeyUnreadable`."""
        keys = [] if settings.verify_keys is None else list(_public_keys(settings.verify_keys))
        if settings.signing_key is not None:
            keys.append(Signer.of(settings.signing_key).key.public_key())
        return cls({_key_id(key): key for key in keys}, settings.require_signatures)

    @classmethod
    def of(cls, path: Path) -> "Trusted":
        """Requires a signature by one of the public keys in a PEM file. Raises `KeyUnreadable`."""
        return cls({_key_id(key): key for key in _public_keys(path)}, required=True)

    def check(self, content: bytes, signature: Any) -> None:
        """Raises `SignatureRefused` unless `signature`, made by `Signer.sign`, is one of `content` by a known key."""
        try:
            algorithm, key_id = signature["algorithm"], signature["key_id"]
            signed = base64.b64decode(signature["signature"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise SignatureRefused("the signature cannot be read") from error
        if algorithm != ALGORITHM:
            raise SignatureRefused(f"the signature is of the kind {algorithm!r}, not {ALGORITHM}")
        if key_id not in self.keys:
            raise SignatureRefused(f"it is signed by the key {key_id!r}, which is not one of the trusted keys")
        try:
            self.keys[key_id].verify(signed, content)
        except InvalidSignature as error:
            raise SignatureRefused(f"the signature by the key {key_id} is not one of this manifest") from error


def make_keys(private: Path, public: Path) -> None:
    """Makes a pair of keys, the private one for its owner alone (mode 0600), unless `private` is there."""
    if private.exists():
        return
    signer = Signer(Ed25519PrivateKey.generate())
    pem = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public.write_bytes(signer.public_pem)
    beside = private.with_name(f".{private.name}.part")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(private)


def _public_keys(path: Path) -> Iterator[Ed25519PublicKey]:
    try:
        *pems, rest = path.read_bytes().split(END)
        keys = [load_pem_public_key(pem + END) for pem in pems]
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _unreadable(path, error) from error
    if not keys or rest.strip():
        raise _unreadable(path, ValueError("it has to hold public keys and nothing else"))
    for key in keys:
        if not isinstance(key, Ed25519PublicKey):
            raise _unreadable(path, TypeError(f"it holds a key that is not {ALGORITHM}"))
        yield key


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _unreadable(path: Path, error: Exception) -> KeyUnreadable:
    return KeyUnreadable(
        f"{path} is not a usable file of {ALGORITHM} keys in PEM ({error}); make one with "
        "`openssl genpkey -algorithm ed25519`, its public half with `openssl pkey -pubout`"
    )
