"""The real command line as a process, and what it leaves behind."""

import subprocess
import sys
from pathlib import Path

import numpy

import train_mnist

CLONE = Path(train_mnist.__file__).parent


def command_line(*words):
    """The command line of ``train_mnist.py`` as a list for subprocess."""
    return [sys.executable, str(CLONE / 'train_mnist.py'), *map(str, words)]


def run(*words, **options):
    """Runs ``train_mnist.py`` as a process of its own and captures what it prints."""
    options = {'capture_output': True, 'text': True, 'timeout': 120, **options}
    return subprocess.run(command_line(*words), **options)


def train(*words):
    """Runs ``train_mnist.py`` as a process, which must go well and print no error or warning."""
    done = run('--noplot', *words)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


def read(path):
    """Reads an npz file into a dictionary."""
    with numpy.load(path) as npz:
        return dict(npz)


def same(a, b):
    """Whether two npz files hold the same arrays, bit for bit."""
    a, b = read(a), read(b)
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes()
        for k in a
    )
