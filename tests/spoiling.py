"""What snapshots are loaded into, and how they are spoilt."""

import os
import re

from chainer_mnist import resume, snapshot
from chainer_mnist.errors import UserError

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from net import MLP, TrainFlagMLP

UNITS = 6


class Target:
    """What a snapshot is loaded into, and a look at all that it holds."""

    def __init__(self, make_predictor=MLP, units=UNITS):
        self.units = units
        self.predictor = make_predictor(units, 10)
        flagged = make_predictor is TrainFlagMLP
        self.model = self.predictor if flagged else L.Classifier(self.predictor)
        self.model(numpy.zeros((1, 784), 'f'), numpy.zeros(1, 'i'))
        self.optimizer = optimizers.Adam().setup(self.model)

    def load(self, flag, path):
        if flag == '-m':
            snapshot.load_model(path, self.model, self.units)
        else:
            resume.load_state(path, self.optimizer, True, self.units)

    def content(self):
        serializer = serializers.DictionarySerializer()
        serializer.save(self.model)
        serializer.save(self.optimizer)
        return {key: numpy.array(value).tobytes() for key, value in serializer.target.items()}


class Files(dict):
    """Files as bytes by name. Hypothesis need not print them."""

    def __repr__(self):
        return f'<{", ".join(self)}>'


def assert_refused(flag, path, message, target=None):
    """Asserts that loading fails with a message and leaves the target as it was."""
    target = target or Target()
    before = target.content()
    with pytest.raises(UserError) as caught:
        target.load(flag, path)
    assert re.fullmatch(message, str(caught.value)), str(caught.value)
    assert target.content() == before


class Payload:
    """Unpickling it makes a directory."""

    def __reduce__(self):
        return os.mkdir, ('the-payload-ran',)


def load_or_refuse(flag, path):
    """Loads a file, or not: but if not, then with one line, and without a trace."""
    target = Target()
    before = target.content()
    refusal = None
    try:
        target.load(flag, path)
    except UserError as error:
        refusal = str(error)
    if refusal is None:
        return target.content()
    assert re.fullmatch('.+; (give|add|write|where|run|pip|pack) .+', refusal, re.S)
    assert target.content() == before
    return None


fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def byte_changes(draw):
    kind = draw(st.sampled_from(['flip', 'set', 'insert', 'delete', 'repeat', 'swap']))
    # The end of a zip archive, its table of contents, deserves more than its share.
    place = draw(st.one_of(st.floats(0, 1), st.floats(0.95, 1)))
    return kind, place, draw(st.binary(min_size=1, max_size=8))


def change_bytes(content, changes):
    content = bytearray(content)
    for kind, place, data in changes:
        at = int(place * max(len(content) - 9, 0))
        if kind == 'flip' and content:
            content[at] ^= 1 << data[0] % 8
        elif kind == 'set':
            content[at : at + len(data)] = data
        elif kind == 'insert':
            content[at:at] = data
        elif kind == 'delete':
            del content[at : at + len(data) ** 3]
        elif kind == 'repeat':
            content[at:at] = content[at : at + 16 * len(data)]
        else:
            content = content[at:] + content[:at]
    return bytes(content)


VALUES = st.sampled_from(
    [
        lambda a: a.astype('f8'),
        lambda a: a.astype('f2'),
        lambda a: a.astype(object),
        lambda a: a.astype('S'),
        lambda a: numpy.asfortranarray(a),
        lambda a: a.T,
        lambda a: a.ravel(),
        lambda a: a[None],
        lambda a: a * numpy.nan,
        lambda a: a - 10**6,
        lambda a: a * 0,
        lambda a: numpy.zeros((0,), 'f'),
        lambda a: numpy.zeros((), 'V8'),
        lambda a: numpy.zeros(1, [('x', 'f4'), ('y', 'O')]),
        lambda a: numpy.float32(3e38) * numpy.ones_like(a),
        None,
    ]
)
