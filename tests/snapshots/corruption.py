"""How files are damaged."""

import os

import numpy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


class Payload:
    """Unpickling it makes a directory."""

    def __reduce__(self):
        return os.mkdir, ('the-payload-ran',)


fuzz = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def byte_changes(draw):
    kind = draw(st.sampled_from(['flip', 'set', 'insert', 'delete']))
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
        else:
            del data[at : at + len(new) ** 3]
    return bytes(data)


VALUES = st.sampled_from(
    [
        lambda a: a.astype('f8'),
        lambda a: a.astype('f2'),
        lambda a: a.astype(object),
        lambda a: numpy.asfortranarray(a),
        lambda a: a.T,
        lambda a: a[None],
        lambda a: a * numpy.nan,
        lambda a: a - 10**6,
        lambda a: numpy.zeros((0,), 'f'),
        lambda a: numpy.zeros((), 'V8'),
        lambda a: numpy.zeros(1, [('x', 'f4'), ('y', 'O')]),
        lambda a: numpy.float32(3e38) * numpy.ones_like(a),
        None,
    ]
)
