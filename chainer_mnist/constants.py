"""Names of files, where MNIST is, and upper bounds of numbers on the command line and in files."""

import os

CLASSIFIER = 'classifier.model'
PREDICTOR = 'mlp.model'
STATE = 'mlp.state'

# The environment variable that names the folder of another data set.
ROOT = 'CHAINER_DATASET_ROOT'
DATA = os.path.abspath(os.path.join(__file__, '..', '..', 'data'))  # where MNIST is in a clone

# More is nonsense or an attack.
MAX_SEED = 2**32 - 1  # NumPy takes 32 bits
MAX_EPOCHS = 10**9
MAX_UPDATES = 10**15
MAX_UNITS = 10**6
MAX_IMAGES = 10**6  # 3 GB as float32
