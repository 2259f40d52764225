"""How files are damaged, and loading them or being refused with one line."""

import os
import re

from chainer_mnist.console import UserError

import numpy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from snapshot_targets import content, load, make


class Payload:
    """Unpickling it makes a directory."""

    def __reduce__(self):
        return os.mkdir, ('the-payload-ran',)


def load_or_refuse(flag, path):
    """Returns what was loaded, or ``None`` after a refusal, which is one line and no change."""
    optimizer = make()
    before = content(optimizer)
    refusal = None
    try:
        load(flag, path, optimizer)
    except UserError as error:
        refusal = str(error)
    if refusal is None:
        return content(optimizer)
    assert re.fullmatch('.+; .+', refusal)
    assert content(optimizer) == before
    return None


fuzz = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def byte_changes(draw):
    kind = draw(st.sampled_from(['flip', 'set', 'insert', 'delete', 'repeat', 'swap']))
    # The end of a zip archive, its table of contents, deserves more than its share.
    place = draw(st.one_of(st.floats(0, 1), st.floats(0.95, 1)))
    return kind, place, draw(st.binary(min_size=1, max_size=8))


def change_bytes(data, changes):
    data = bytearray(data)
    for kind, place, new in changes:
        at = int(place * max(len(data) - 9, 0))
        if kind == 'flip' and data:
            data[at] ^= 1 << new[0] % 8
        elif kind == 'set':
            data[at : at + len(new)] = new
        elif kind == 'insert':
            data[at:at] = new
        elif kind == 'delete':
            del data[at : at + len(new) ** 3]
        elif kind == 'repeat':
            data[at:at] = data[at : at + 16 * len(new)]
        else:
            data = data[at:] + data[:at]
    return bytes(data)


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
