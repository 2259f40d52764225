"""The support matrix: the tests on each Python, with its oldest and newest NumPy, and with CuPy."""

from __future__ import annotations

import re
from pathlib import Path

import nox


def lower_bounds() -> list[str]:
    """Returns the oldest release of everything that the requirements files ask for by name."""
    text = Path('requirements.txt').read_text() + Path('requirements-dev.txt').read_text()
    return ['=='.join(bound) for bound in re.findall(r'^([\w-]+)>=([\d.]+)', text, re.M)]


# The oldest NumPy with wheels for each Python, within the bound of requirements.txt. The oldest
# Python takes the lower bounds of the others as well, so that they are tested.
OLDEST = {
    '3.9': lower_bounds(),
    '3.10': ['numpy==1.22.0'],
    '3.11': ['numpy==1.23.2'],
    '3.12': ['numpy==1.26.0'],
    '3.13': ['numpy==2.1.0'],
    '3.14': ['numpy==2.3.2'],
    '3.15': ['numpy==2.5.2'],
}
WITH_CUPY = [python for python in OLDEST if python != '3.15']  # for which it has no wheels yet


def test(session: nox.Session, *requirements: str) -> None:
    """Runs the tests with what the README says to install and with more requirements."""
    session.install('-r', 'requirements-dev.txt', *requirements)
    session.run('python', '--version')
    session.run('python', '-m', 'pip', 'list')
    session.run('python', '-m', 'pytest', *session.posargs)


@nox.session(python=list(OLDEST))
@nox.parametrize('numpy', ['oldest', 'newest'], ids=['oldest', 'newest'])
def tests(session: nox.Session, numpy: str) -> None:
    """The tests with NumPy's oldest or newest release that installs."""
    test(session, *(OLDEST[session.python] if numpy == 'oldest' else []))


@nox.session(python=WITH_CUPY)
def cupy(session: nox.Session) -> None:
    """The tests with CuPy's newest release, for a machine without a GPU."""
    # [ctk] would bring 2.5 GB of libraries. Without them, the tests of an installed CuPy that need
    # them are skipped.
    gpu = Path('requirements-gpu.txt').read_text().replace('[ctk]', '')
    test(session, *re.findall('^cupy.*', gpu, re.M))
