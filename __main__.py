"""Runs ``train_mnist.py`` for ``python CLONE`` and in a zip application made of the clone."""

import runpy

runpy.run_module('train_mnist', run_name='__main__')
