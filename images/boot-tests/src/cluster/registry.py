"""A registry of container images (OCI distribution specification, pulls only) over plain HTTP.

usage: registry.py ADDRESS PORT FOLDER...

Every folder in a FOLDER is an OCI image layout. An image has the name of its annotation
`org.opencontainers.image.ref.name` without the registry, or that of its folder where the annotation is a tag alone.
Layouts may come while it runs.
"""

import http.server
import json
import pathlib
import re
import shutil
import sys

NAME = "org.opencontainers.image.ref.name"


def names(folder, text):
    """Repository and tag of an image that a layout calls `text`."""
    path, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        path, tag = ("", text) if "/" not in text else (text, "latest")
    first, slash, rest = path.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        path = rest
    return path or folder.name, tag


def layouts(tops):
    for index in [path for top in tops for path in sorted(top.glob("*/index.json"))]:
        for entry in json.loads(index.read_text())["manifests"]:
            yield (*names(index.parent, entry.get("annotations", {}).get(NAME, "latest")), entry["digest"])


def blob(tops, digest):
    if re.fullmatch("sha256:[0-9a-f]{64}", digest):
        for path in (path for top in tops for path in top.glob("*/blobs/sha256/" + digest[7:])):
            return path
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def find(self):
        """File, media type and digest of what is asked for."""
        tops = self.server.tops
        found = re.fullmatch("/v2/(.+)/(manifests|blobs)/([^/]+)", self.path.partition("?")[0])
        if not found:
            return None
        repository, kind, reference = found.groups()
        if kind == "manifests" and ":" not in reference:
            reference = next((d for r, t, d in layouts(tops) if (r, t) == (repository, reference)), "")
        path = blob(tops, reference)
        if not path:
            return None
        if kind == "blobs":
            return path, "application/octet-stream", reference
        manifest = json.loads(path.read_text())
        plain = "application/vnd.oci.image." + ("index" if "manifests" in manifest else "manifest") + ".v1+json"
        return path, manifest.get("mediaType", plain), reference

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        if self.path in ("/v2", "/v2/"):
            self.head(200, "application/json", 2)
            if with_body:
                self.wfile.write(b"{}")
            return
        found = self.find()
        if not found:
            text = b'{"errors":[{"code":"NAME_UNKNOWN","message":"not in this registry"}]}'
            self.head(404, "application/json", len(text))
            if with_body:
                self.wfile.write(text)
            return
        path, media_type, digest = found
        self.head(200, media_type, path.stat().st_size, digest)
        if with_body:
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, 1 << 20)

    def head(self, status, media_type, length, digest=None):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()


def main():
    address, port, *tops = sys.argv[1:]
    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    server.tops = [pathlib.Path(top) for top in tops]
    server.serve_forever()


main()
