"""Our own Google Cloud Storage (`gcs_program`): the packaged emulators replace objects in spite of ifGenerationMatch=0.

fake-gcs-server (wheel of 2026-03) also publishes on a status query and copies all data with each chunk; gcp-storage-emulator
2026.7.19 holds everything in memory and cannot cancel. This one is judged by Google's own client and by rclone
(test_gcs_server.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.backends.servers.gcs_disk import Disk
from tests.backends.servers.process import Process, answers, free_port

WRITER = "writer@hotshoe-test.iam.gserviceaccount.com"
READER = "reader@hotshoe-test.iam.gserviceaccount.com"
KEEPER = "keeper@hotshoe-test.iam.gserviceaccount.com"
STRANGER = "stranger@hotshoe-test.iam.gserviceaccount.com"

RIGHTS = {
    WRITER: ["create", "get", "list", "delete"],
    READER: ["get", "list"],
    KEEPER: ["create", "get", "list"],  # roles/storage.objectCreator and objectViewer: the least that works
}


class GcsServer:
    """Owns `folder`. `keys` are service account files: one per e-mail address."""

    def __init__(self, folder: Path):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.disk = Disk(folder / "data")
        self.folder = folder
        self.keys: dict[str, Path] = {}
        for email in (WRITER, READER, KEEPER):
            self.disk.add_account(email, self.add_key(email))
        self.add_key(STRANGER)  # well formed, and known to nobody
        command = [sys.executable, "-m", "tests.backends.servers.gcs_program", str(port), str(self.disk.root)]
        root = str(Path(__file__).parents[3])
        self.process = Process(
            command, folder / "log", lambda: answers(f"{self.url}/healthz"), env={"PYTHONPATH": root}
        )

    def add_key(self, email: str) -> str:
        """Write a fresh key file for `email`. Return the public key, which makes it valid."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        path = self.folder / f"{email.partition('@')[0]}.json"
        file = {
            "type": "service_account",
            "project_id": "hotshoe-test",
            "private_key_id": "0123456789abcdef",
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps(file))
        self.keys[email] = path
        return public.decode()

    def make_bucket(self, name: str, **settings: object) -> None:
        self.disk.make_bucket(name, **{"members": RIGHTS, **settings})

    def objects(self, bucket: str) -> dict[str, bytes]:
        return {
            str(resource["name"]): self.disk.content(resource).read_bytes()
            for resource in self.disk.objects(bucket)
        }
