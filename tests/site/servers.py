"""nginx, Varnish and Squid as processes of a test, with the configurations that docs/ ships.

What an administrator edits is edited here too, and nothing else: addresses, places, who may come.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.mount.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs" / "site-cache"
#: Where Debian puts servers, which is not on everybody's path.
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def found(program: str) -> str | None:
    """The path of *program*, if it is installed."""
    return shutil.which(program, path=PLACES)


class CacheServer:
    """A caching server before the server at *origin*, with its files under *folder*.

    *apart*: a command that runs others, in a network namespace.
    """

    program = ""

    def __init__(
        self, folder: Path, origin: str, *, host: str = "127.0.0.1", apart: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.origin = urlsplit(origin).netloc
        self.host, self.port = host, 8080 if apart else free_port()
        self.apart = tuple(apart)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Run it, and return when it answers."""
        command = self.prepare()
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.apart, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        eventually(self._answers, within=30, what=f"{self.program} at {self.url}")

    def kill(self) -> None:
        """It dies at once, with all its processes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self, number: int = signal.SIGSTOP) -> None:
        """It accepts, and says nothing; until SIGCONT."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def prepare(self) -> list[str]:
        """Write its configuration; the command that runs it in the foreground."""
        raise NotImplementedError

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError((self.folder / "output").read_text())
        # From where it runs: this process may be in another namespace.
        probe = f"exec 3<>/dev/tcp/{self.host}/{self.port}"
        return (
            subprocess.run([*self.apart, "bash", "-c", probe], capture_output=True).returncode == 0
        )

    def __enter__(self) -> CacheServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Nginx(CacheServer):
    """nginx with docs/site-cache/nginx.conf."""

    program = "nginx"
    slice_size = "1m"

    def prepare(self) -> list[str]:
        site = edited(
            (DOCS / "nginx.conf").read_text(),
            ("/var/cache/nginx/vbofs", str(self.folder / "cache")),
            ("min_free=20g", "min_free=1m"),
            ("listen 8080;", f"listen {self.host}:{self.port};"),
            ("deny all;\n    access_log off;", "allow all;\n    access_log off;"),
            ("server s3.us-west-2.amazonaws.com:443;", f"server {self.origin};"),
            ("proxy_pass https://", "proxy_pass http://"),
            ("slice 1m;", f"slice {self.slice_size};" if self.slice_size else ""),
        )
        if not self.slice_size:
            site = edited(site, ("$slice_range", "$http_range"))
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind}; "
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = (
            f"daemon off; user root; worker_processes 2; pid {self.folder}/pid;\n"
            f"error_log {self.folder}/error.log notice;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ sendfile on; {temporary}\n{site}\n}}\n"
        )
        (self.folder / "nginx.conf").write_text(main)
        return [str(found("nginx")), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def stored(self) -> list[Path]:
        """The files of its cache, a slice each."""
        return [path for path in (self.folder / "cache").rglob("*") if path.is_file()]


class Varnish(CacheServer):
    """Varnish with docs/site-cache/varnish.vcl."""

    program = "varnishd"

    def prepare(self) -> list[str]:
        host, _, port = self.origin.partition(":")
        vcl = edited(
            (DOCS / "varnish.vcl").read_text(),
            ('.host = "127.0.0.1"', f'.host = "{host}"'),
            ('.port = "8081"', f'.port = "{port}"'),
            ('"127.0.0.1";\n}', '"0.0.0.0"/0;\n}'),
        )
        (self.folder / "vbofs.vcl").write_text(vcl)
        return [
            str(found("varnishd")), "-F", "-n", str(self.folder / "n"),
            "-a", f"{self.host}:{self.port}", "-f", str(self.folder / "vbofs.vcl"),
            "-s", "malloc,1G", "-j", "none",
        ]  # fmt: skip


def edited(text: str, *edits: tuple[str, str]) -> str:
    """*text* with each edit made; AssertionError if the shipped file has moved on."""
    for old, new in edits:
        assert old in text, f"{old!r} is not in the configuration"
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
