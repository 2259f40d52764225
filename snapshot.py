"""Writes and reads models and the training state, as npz files that plain Chainer can read.

Nothing that is read here is trusted. ``chainer.serializers.load_npz`` unpickles what it finds in a
file; this module reads plain arrays alone, looks at what a member claims to be before it takes
memory for it, and fills a model or an optimizer only when the whole file has proved good.
"""

import contextlib
import io
import math
import os
import warnings
import zipfile

import chainer_compat  # noqa: F401  Chainer does not import without it
import numpy
from chainer import serializers

import files
from command import UserError

CLASSIFIER = 'classifier.model'
PREDICTOR = 'mlp.model'
STATE = 'mlp.state'

# How the keys of the weights begin in a file, and what --net calls such a network.
NETS = {'predictor/': 'classifier', '': 'trainflag'}

# What the header of a member may take, in bytes.
MOST_HEADER = 4096

# NumPy takes 32 bits for a seed. The others only keep nonsense out.
MOST_SEED = 2**32 - 1
MOST_UNITS = 10**6
MOST_EPOCHS = 10**9
MOST_UPDATES = 10**15


def save_model(out, predictor):
    """Writes the weights of a network twice: as a classifier's and as a predictor's.

    Args:
        out (str): The directory to write to.
        predictor (chainer.Chain): The network, on any device.

    Raises:
        UserError: If a file cannot be written.

    """
    weights = _serialize(predictor)
    _save(os.path.join(out, CLASSIFIER), {f'predictor/{key}': w for key, w in weights.items()})
    _save(os.path.join(out, PREDICTOR), weights)


def save_state(out, optimizer, seed):
    """Writes all that is needed to go on: optimizer, weights and progress in one file.

    Args:
        out (str): The directory to write to.
        optimizer (chainer.optimizers.Adam): The optimizer, set up on the model, on any device.
        seed (int): The seed of the run.

    Raises:
        UserError: If the file cannot be written.

    """
    state = {**_serialize(optimizer), **_serialize(optimizer.target)}
    _save(os.path.join(out, STATE), {**state, 'seed': seed})


def load_model(path, predictor):
    """Reads weights into a network.

    Args:
        path (str): A file with the weights of a classifier or of a predictor.
        predictor (chainer.Chain): The network, on the CPU, its input size known.

    Raises:
        UserError: If the file cannot be read or does not fit. The network is then as it was.

    """
    with _open(path) as npz:
        weights = npz.weights(_serialize(predictor), npz.prefix())
    serializers.NpzDeserializer(weights).load(predictor)


def units(path):
    """Says how large the network is that a file belongs to.

    Args:
        path (str): A file with the weights of a classifier or of a predictor, or with the state of
            a training.

    Returns:
        int: Number of units in each hidden layer.

    Raises:
        UserError: If the file cannot be read or holds no weights.

    """
    with _open(path) as npz:
        return npz.units()


def load_state(path, optimizer, weights=True):
    """Reads the training state into an optimizer and its model.

    States by plain Chainer load too. They lack the seed, and those of Chainer v2 count updates
    once for all parameters (https://github.com/chainer/chainer/pull/4026).

    Args:
        path (str): The file.
        optimizer (chainer.optimizers.Adam): The optimizer, set up on a model on the CPU whose
            input size is known.
        weights (bool): Whether to read the weights too.

    Returns:
        int: The seed of the run, or ``None`` if the file holds none.

    Raises:
        UserError: If the file cannot be read or does not fit. Optimizer and model are then as they
            were.

    """
    like = _serialize(optimizer.target)
    with _open(path) as npz:
        npz.check_is_state_of(like)
        state = {'t': npz.count('t', MOST_UPDATES), 'epoch': npz.count('epoch', MOST_EPOCHS)}
        for key, w in like.items():
            state.update(npz.adam(key, w.shape, state['t']))
        if weights:
            state.update(npz.weights(like))
        seed = npz.count('seed', MOST_SEED) if 'seed' in npz else None
    deserializer = serializers.NpzDeserializer({k: numpy.asarray(v) for k, v in state.items()})
    deserializer.load(optimizer)
    if weights:
        deserializer.load(optimizer.target)
    return seed


def weights_beside(path):
    """Says where the weights are that belong to a training state.

    Args:
        path (str): A file with a training state.

    Returns:
        str: ``None`` if the file itself holds them, which those of this project do. The path of
        the ``classifier.model`` beside it if it does not: plain Chainer saves an optimizer without
        the weights.

    Raises:
        UserError: If the file cannot be read, or there are no weights in either place.

    """
    with _open(path) as npz:
        if any(f'{prefix}l1/W' in npz for prefix in NETS):
            return None
    beside = os.path.join(os.path.dirname(path), CLASSIFIER)
    if os.path.isfile(beside):
        return beside
    raise UserError(
        f'{path} holds no weights, and there is no {CLASSIFIER} beside it; give the weights with -m'
    )


def _serialize(target):
    serializer = serializers.DictionarySerializer()
    serializer.save(target)
    # Chainer keeps names in sets, whose order changes from process to process. In this order, the
    # first layer comes first: it tells best what is wrong with a file.
    return dict(sorted(serializer.target.items()))


def _save(path, content):
    buffer = io.BytesIO()  # on a full disk, closing an npz would fail once more
    try:
        # Weights are noise to a compressor: it takes long and saves little.
        serializers.save_npz(buffer, content, compression=False)
    except ValueError:  # zipfile raises it as it closes an archive after memory has run out
        raise MemoryError from None
    files.write(path, buffer.getvalue())


@contextlib.contextmanager
def _open(path):
    try:
        # Opening a pipe or a device can hang.
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f'{path} is not a file; give the path of a snapshot')
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter('ignore')  # NumPy remarks on files that Python 2 wrote
            yield _Npz(path, archive)
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f'cannot read {path}: {error.strerror or error}; give the path of a snapshot'
        ) from None
    except Exception as error:  # whatever a damaged file makes zipfile and NumPy raise
        reason = str(error).split('\n')[0] or type(error).__name__
        raise UserError(
            f'{path} is damaged or not a snapshot ({reason}); give another file'
        ) from None


class _Npz:
    """An npz file that is not trusted.

    Where it is damaged, its methods raise ``ValueError`` or what zipfile and NumPy raise.
    """

    def __init__(self, path, archive):
        self._path = path
        self._archive = archive
        self._keys = {name[: -len('.npy')] for name in archive.namelist() if name.endswith('.npy')}

    def __contains__(self, key):
        return key in self._keys

    def prefix(self):
        """Finds out how the keys of the weights begin."""
        for prefix in NETS:
            if f'{prefix}l1/W' in self:
                return prefix
        raise UserError(
            f'{self._path} holds no weights of an MLP; give -m a file like {CLASSIFIER}'
        )

    def units(self):
        """Reads the number of units in each hidden layer."""
        prefix = self.prefix()
        shape, _ = self._header(f'{prefix}l1/W')
        if len(shape) != 2 or not 1 <= shape[0] <= MOST_UNITS:
            raise ValueError(f'l1/W has the shape {shape}')
        # A header alone could make a small file ask for a network that takes all memory.
        self._floats(f'{prefix}l2/W', (shape[0], shape[0]))
        return shape[0]

    def check_is_state_of(self, like):
        """Checks that the file is Adam's state for the network with the weights ``like``."""
        prefix = next((p for p in NETS if self._under(f'{p}l1/W')), None)
        if prefix is None:
            raise UserError(f'{self._path} holds no training state; give -r a file like {STATE}')
        if f'{prefix}l1/W' not in like:
            net = NETS[prefix]
            raise UserError(f'{self._path} is a state of the network {net}; add --net {net}')
        for key in like:
            if not self._under(key) <= {'t', 'm', 'v'}:
                raise UserError(f'{self._path} is a state of another optimizer; give one of Adam')

    def adam(self, key, shape, updates):
        """Reads what Adam keeps for the parameter ``key`` after so many updates in all."""
        # Up to Chainer v3.2 only the optimizer as a whole counts its updates in a snapshot.
        t = self.count(f'{key}/t', MOST_UPDATES) if f'{key}/t' in self else updates
        if t == 0 and not self._under(key) & {'m', 'v'}:  # Adam makes them at the first update
            m, v = numpy.zeros(shape, numpy.float32), numpy.zeros(shape, numpy.float32)
        else:
            m, v = (self._floats(f'{key}/{name}', shape) for name in 'mv')
        if (v < 0).any():
            raise ValueError(f'{key}/v is negative')
        return {f'{key}/t': t, f'{key}/m': m, f'{key}/v': v}

    def weights(self, like, prefix=''):
        """Reads weights with the keys and shapes of those in ``like``."""
        return {key: self._floats(prefix + key, w.shape) for key, w in like.items()}

    def count(self, key, most):
        """Reads a whole number, 0 to ``most``."""
        shape, dtype = self._header(key)
        if shape != () or dtype.kind not in 'iu':
            raise ValueError(f'{key} is not a whole number')
        number = int(self._array(key, shape, dtype))
        if not 0 <= number <= most:
            raise ValueError(f'{key} is {number}')
        return number

    def _under(self, key):
        """The names that stand under ``key``: those of an optimizer's state."""
        return {k[len(key) + 1 :] for k in self._keys if k.startswith(f'{key}/')}

    def _floats(self, key, shape):
        """Reads a float32 array of a given shape, all of it finite."""
        if key not in self:
            raise UserError(f'{self._path} holds no {key}; give a file of the same network')
        found, dtype = self._header(key)
        if 'l1/W' in key and found[1:] == shape[1:] and 0 < found[0] != shape[0]:
            units = found[0]
            raise UserError(
                f'{self._path} holds a network of {units} units, not {shape[0]}; add -u {units}'
            )
        if (found, dtype) != (shape, numpy.float32):
            raise UserError(
                f'{self._path} holds {key} as {dtype} of shape {found}, not float32 of {shape}; '
                'give a file of the same network'
            )
        array = self._array(key, shape, dtype)
        if not numpy.isfinite(array).all():
            raise UserError(
                f'{self._path} holds NaN or infinity in {key}; give an earlier snapshot'
            )
        return array

    def _header(self, key):
        """Reads what a member claims to be: its shape and dtype."""
        content = io.BytesIO(self._read(key, MOST_HEADER))
        version = numpy.lib.format.read_magic(content)
        if version == (1, 0):
            shape, _, dtype = numpy.lib.format.read_array_header_1_0(content)
        else:
            shape, _, dtype = numpy.lib.format.read_array_header_2_0(content)
        return shape, dtype

    def _array(self, key, shape, dtype):
        """Reads a member that claims to be of a shape and a dtype that are wanted."""
        most = math.prod(shape) * dtype.itemsize + MOST_HEADER
        # Reading on to the end checks the CRC.
        content = io.BytesIO(self._read(key, most))
        array = numpy.lib.format.read_array(content, allow_pickle=False)
        if content.read():
            raise ValueError(f'{key} is too long')
        return array

    def _read(self, key, most):
        """Reads the bytes of a member, ``most`` of them at most."""
        info = self._archive.getinfo(f'{key}.npy')
        # NumPy uses no other compression, and zipfile does not bound the memory that others take.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f'{key} is compressed in a way that NumPy does not use')
        with self._archive.open(info) as member:
            return member.read(most)
