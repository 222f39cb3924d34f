"""The blocks of docs/languages.md, run as they stand on the mounted sample."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

PAGE = (Path(__file__).parents[2] / "docs/languages.md").read_text()
TRACES = "processing/ophys/dff/traces/data"
EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def need(*command, missing):
    """Skip where a program is not installed, or its library: *command* tells of that."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if missing in done.stderr:
        pytest.skip(f"{command[-1]} does nothing here")


@pytest.fixture
def run(shared):
    """``run(command, block)``: what a block prints, with a vbofs on the PATH."""
    folder = Path(sys.executable).parent

    def execute(*command):
        return shared.machine.execute(*command, PATH=f"{folder}:{shared.machine.env['PATH']}").out

    return execute


@pytest.fixture(scope="module")
def cell(sample):
    with h5py.File(sample.release("1.1.0").paths[EXPERIMENT]) as file:
        return file[TRACES][:, 0]


def close(said, cell):
    """Whether *said* is the number of samples of *cell*, and its mean."""
    count, mean = said.split()[-2:]
    return int(count) == cell.size and float(mean) == pytest.approx(cell.mean(), rel=1e-4)


def test_python_reads_a_cell(run, cell):
    (block,) = blocks("python")
    assert close(run(sys.executable, "-c", block), cell)


def test_r_reads_a_cell_with_rhdf5_and_finds_files(run, cell):
    need("Rscript", "-e", "library(rhdf5)", missing="no package")
    block = blocks("r")[0]
    assert close(run("Rscript", "-e", block), cell)


def test_r_reads_a_cell_with_hdf5r(run, cell):
    need("Rscript", "-e", "library(hdf5r)", missing="no package")
    assert close(run("Rscript", "-e", blocks("r")[1]), cell)


def test_octave_reads_a_cell(run, cell):
    need("octave-cli", "--eval", "pkg load netcdf", missing="is not installed")
    (block,) = blocks("octave")
    assert close(run("octave-cli", "--quiet", "--eval", block), cell[:2000])


def test_the_shell_reads_a_cell(run, shared, cell):
    for program in ("h5ls", "h5dump", "h5copy", "ncdump"):
        need(program, missing="no such program")
    (block,) = blocks("sh")
    said = run("sh", "-e", "-c", block)
    numbers = re.findall(r"\((\d),0\): (-?\d+\.\d{4})", said)
    assert [float(number) for _, number in numbers] == pytest.approx(cell[:5], abs=1e-4)
    assert "2019-09-20_OPHYS_1_images_A_VISp-150um_951980471 {" in said
    with h5py.File(shared.machine.home / "dff.h5") as file:
        assert file["dff/data"][:, 0].tolist() == cell.tolist()
