"""Snapshots that are missing, damaged, foreign or hostile: one line, and nothing half-loaded."""

import os
import pickle
import re
import struct
import subprocess
import tracemalloc
import zipfile

from chainer_mnist import snapshot
from chainer_mnist.errors import UserError

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import train_mnist
from helpers import command_line, read, run
from net import MLP, TrainFlagMLP

UNITS = 6


class Target:
    """What a snapshot is loaded into, and a look at all that it holds."""

    def __init__(self, make_predictor=MLP, units=UNITS):
        self.predictor = make_predictor(units, 10)
        flagged = make_predictor is TrainFlagMLP
        self.model = self.predictor if flagged else L.Classifier(self.predictor)
        self.model(numpy.zeros((1, 784), 'f'), numpy.zeros(1, 'i'))
        self.optimizer = optimizers.Adam().setup(self.model)

    def load(self, flag, path):
        if flag == '-m':
            snapshot.load_model(path, self.predictor)
        else:
            snapshot.weights_beside(path)
            snapshot.load_state(path, self.optimizer)

    def content(self):
        serializer = serializers.DictionarySerializer()
        serializer.save(self.model)
        serializer.save(self.optimizer)
        return {key: numpy.array(value).tobytes() for key, value in serializer.target.items()}


class Files(dict):
    """Files as bytes by name. Hypothesis need not print them."""

    def __repr__(self):
        return f'<{", ".join(self)}>'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, tiny):
    """The files of a short run with few units, as bytes by name."""
    out = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CHAINER_DATASET_ROOT', str(tiny))
        words = f'-e 2 -u {UNITS} -s 1 --noplot -o'.split()
        assert train_mnist.main([*words, str(out)]) == 0
    return Files({path.name: path.read_bytes() for path in out.iterdir()})


@pytest.fixture
def files(trained):
    """The same files, in the current directory, to be spoilt."""
    for name, content in trained.items():
        with open(name, 'wb') as file:
            file.write(content)


def rewrite(path, change):
    content = read(path)
    change(content)
    with open(path, 'wb') as file:
        numpy.savez(file, **content)


def assert_refused(flag, path, message, target=None):
    """Asserts that loading fails with a message and leaves the target as it was."""
    target = target or Target()
    before = target.content()
    with pytest.raises(UserError) as caught:
        target.load(flag, path)
    assert re.fullmatch(message, str(caught.value)), str(caught.value)
    assert target.content() == before


KINDS = [('-m', 'classifier.model'), ('-m', 'mlp.model'), ('-m', 'mlp.state'), ('-r', 'mlp.state')]
each_kind = pytest.mark.parametrize(('flag', 'name'), KINDS)
NO_SNAPSHOT = '{} is damaged or not a snapshot .*; give another file'


@each_kind
def test_a_good_file_loads(files, flag, name):
    target = Target()
    target.load(flag, name)
    weights = read('classifier.model')
    content = target.content()
    for key, array in (read('mlp.state') if flag == '-r' else weights).items():
        assert key == 'seed' or content[key] == array.tobytes(), key


# Wrong files


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_what_is_no_file(flag):
    os.mkdir('directory')
    paths = ['directory']
    if os.name != 'nt':
        os.mkfifo('pipe')
        paths += ['pipe', '/dev/zero']
    message = '{} is not a file; give the path of a snapshot'
    for path in paths:
        assert_refused(flag, path, message.format(path))
    message = 'cannot read nowhere: No such file or directory; give the path of a snapshot'
    assert_refused(flag, 'nowhere', message)


@each_kind
def test_what_is_no_npz(files, flag, name):
    with open('text', 'w') as file:
        file.write('These are not the weights you are looking for.')
    numpy.save('array.npy', numpy.zeros(3))
    with open('pickle', 'wb') as file:
        pickle.dump({}, file)
    open('empty', 'w').close()
    for path in ('text', 'array.npy', 'pickle', 'empty'):
        assert_refused(flag, path, NO_SNAPSHOT.format(path))


@each_kind
def test_truncated_files(files, trained, flag, name):
    for size in range(0, len(trained[name]), len(trained[name]) // 50):
        with open(name, 'wb') as file:
            file.write(trained[name][:size])
        assert_refused(flag, name, NO_SNAPSHOT.format(name))


def test_no_permission(files, bound_by_permissions):
    os.chmod('mlp.state', 0)
    for flag in ('-m', '-r'):
        words = [*bound_by_permissions, *command_line(flag, 'mlp.state')]
        done = subprocess.run(words, capture_output=True, text=True)
        message = 'cannot read mlp.state: Permission denied; give the path of a snapshot'
        assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')


# Wrong members


@each_kind
def test_a_missing_member_is_named(files, flag, name):
    for key in read(name):
        if key == 'seed' or key.endswith('/t') or (flag == '-m' and key[-2:] not in ('/W', '/b')):
            continue  # without these it loads too
        with open(name, 'rb') as file:
            content = file.read()
        rewrite(name, lambda content, key=key: content.pop(key))
        assert_refused(flag, name, f'{name} .*(holds no |beside it|no item named).*')
        with open(name, 'wb') as file:
            file.write(content)


@each_kind
@pytest.mark.parametrize(
    'spoil',
    [
        lambda array: array.astype('f8'),
        lambda array: array.astype('f2'),
        lambda array: array.astype('>f4'),
        lambda array: array.astype('i4'),
        lambda array: array.astype('c8'),
        lambda array: array.astype('U'),
        lambda array: array[..., None],
        lambda array: array[..., :-1],
        lambda array: array.ravel()[0],
        lambda array: array * numpy.float32('nan'),
        lambda array: array + numpy.float32('inf'),
    ],
)
def test_a_wrong_array_is_refused(files, trained, flag, name, spoil):
    for key, array in read(name).items():
        if array.dtype != 'f' or (flag == '-m' and key[-2:] not in ('/W', '/b')):
            continue
        rewrite(name, lambda content, key=key, array=array: content.update({key: spoil(array)}))
        assert_refused(flag, name, f'{name} .*{key}.*; give .*')
        with open(name, 'wb') as file:
            file.write(trained[name])


@pytest.mark.parametrize('key', ['t', 'epoch', 'seed', 'predictor/l1/W/t'])
@pytest.mark.parametrize('value', [-1, 2**63, 0.5, numpy.arange(3), 'x', numpy.datetime64('now')])
def test_a_wrong_count_is_refused(files, key, value):
    rewrite('mlp.state', lambda content: content.update({key: numpy.asarray(value)}))
    assert_refused('-r', 'mlp.state', f'mlp.state is damaged .*{key} is .*')


def test_negative_second_moments_are_refused(files):
    rewrite('mlp.state', lambda content: content.update({'predictor/l1/b/v': -numpy.ones(6, 'f')}))
    assert_refused('-r', 'mlp.state', r'mlp.state is damaged .*predictor/l1/b/v is negative.*')


# Snapshots of something else


@each_kind
def test_another_number_of_units(files, flag, name):
    message = f'{name} holds a network of 6 units, not 50; add -u 6'
    assert_refused(flag, name, message, Target(units=50))
    done = run(flag, name)
    assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')


def test_the_state_of_the_other_network(files):
    message = 'mlp.state is a state of the network classifier; add --net classifier'
    assert_refused('-r', 'mlp.state', message, Target(TrainFlagMLP))
    assert train_mnist.main(['-e', '1', '-n', 'trainflag', '-u', '6', '--noplot', '-o', '.']) == 0
    message = 'mlp.state is a state of the network trainflag; add --net trainflag'
    assert_refused('-r', 'mlp.state', message)


@pytest.mark.parametrize('name', ['classifier.model', 'mlp.model'])
def test_a_model_where_a_state_is_wanted(files, name):
    message = f'{name} holds no training state; give -r a file like mlp.state'
    assert_refused('-r', name, message)


def test_a_model_of_something_else(files):
    numpy.savez('other.npz', **{'conv1/W': numpy.zeros((3, 3), 'f')})
    message = 'other.npz holds no weights of an MLP; give -m a file like classifier.model'
    assert_refused('-m', 'other.npz', message)


@pytest.mark.parametrize(
    'make', [optimizers.SGD, optimizers.MomentumSGD, optimizers.RMSprop, optimizers.AMSGrad]
)
def test_the_state_of_another_optimizer(make):
    target = Target()
    other = make().setup(target.model)
    other.update(target.model, numpy.ones((2, 784), 'f'), numpy.zeros(2, 'i'))
    serializers.save_npz('other.state', other)
    serializers.save_npz('classifier.model', target.model)
    target.optimizer.setup(target.model)
    assert_refused('-r', 'other.state', 'other.state .*(holds no|another optimizer).*; give .*')


# Hostile files


class Payload:
    """Unpickling it makes a directory."""

    def __reduce__(self):
        return os.mkdir, ('the-payload-ran',)


@each_kind
def test_nothing_is_unpickled(files, trained, flag, name):
    for key in [*read(name), 'stranger']:
        payload = numpy.array(Payload(), dtype=object)
        rewrite(name, lambda content, key=key, payload=payload: content.update({key: payload}))
        target = Target()
        try:
            target.load(flag, name)
        except UserError:
            assert key != 'stranger'
        assert not os.path.exists('the-payload-ran'), key
        with open(name, 'wb') as file:
            file.write(trained[name])


def test_the_payload_is_live():
    """Chainer itself runs it, so that the test above means something."""
    with open('bad.model', 'wb') as file:
        numpy.savez(file, W=numpy.array(Payload(), dtype=object), b=numpy.zeros(1, 'f'))
    serializers.load_npz('bad.model', L.Linear(1, 1))
    assert os.path.exists('the-payload-ran')


def test_a_payload_on_the_command_line(files):
    payload = numpy.array(Payload(), dtype=object)
    rewrite('mlp.model', lambda content: content.update({'l1/W': payload}))
    done = run('-u', UNITS, '-m', 'mlp.model')
    assert done.returncode == 1
    assert re.fullmatch('train_mnist.py: error: mlp.model .*; give .*\n', done.stderr)
    assert not os.path.exists('the-payload-ran')
    assert not os.path.exists('result')


def npy(shape, dtype='<f4', content=b''):
    """A member whose header claims what it likes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + content


def put_member(path, name, content, compression=zipfile.ZIP_DEFLATED):
    """Replaces a member of an npz."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[name] = content
    with zipfile.ZipFile(path, 'w') as archive:
        for member, data in members.items():
            archive.writestr(member, data, compression if member == name else zipfile.ZIP_STORED)


MEGABYTES = 64
ZEROS = bytes(MEGABYTES << 20)


def lie_about_the_size(path):
    """Makes a member that decompresses to far more than the archive says."""
    content = npy((6, 784), content=ZEROS)
    put_member(path, 'l1/W.npy', content)
    with open(path, 'rb') as file:
        data = file.read()
    true, claimed = (struct.pack('<I', size) for size in (len(content), 128 + 6 * 784 * 4))
    assert true in data
    with open(path, 'wb') as file:
        file.write(data.replace(true, claimed))


@pytest.mark.parametrize(
    'arm',
    [
        lambda path: put_member(path, 'l1/W.npy', npy((10**12,))),
        lambda path: put_member(path, 'l1/W.npy', npy((6, 10**12))),
        lambda path: put_member(path, 'l1/W.npy', npy((10**12, 784))),
        lambda path: put_member(path, 'l1/W.npy', npy((2**62, 2**62))),
        lambda path: put_member(path, 'l1/W.npy', npy((-6, -784))),
        lambda path: put_member(path, 'l1/W.npy', npy((6, 784), '<U100000000')),
        lambda path: put_member(path, 'l1/W.npy', npy('(' * 3000 + ')' * 3000)),
        lambda path: put_member(path, 'l1/W.npy', npy((6, 784), content=ZEROS)),
        lambda path: put_member(path, 'l1/W.npy', ZEROS),
        lambda path: put_member(path, 'l1/W.npy', b'\x93NUMPY\x02\x00\xff\xff\xff\x7f' + ZEROS),
        lambda path: put_member(path, 'l1/W.npy', npy((6, 784), content=ZEROS), zipfile.ZIP_BZIP2),
        lambda path: put_member(path, 'l1/W.npy', npy((6, 784), content=ZEROS), zipfile.ZIP_LZMA),
        lie_about_the_size,
    ],
)
def test_a_bomb_does_not_fill_the_memory(files, arm):
    arm('mlp.model')
    tracemalloc.start()
    try:
        assert_refused('-m', 'mlp.model', 'mlp.model .*; (give|add) .*')
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES << 20 >> 2


# Fuzz


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
    assert re.fullmatch('.+; (give|add) .+', refusal)
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
        at = int(place * (len(content) - 9))
        if kind == 'flip':
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


@each_kind
@fuzz
@given(changes=st.lists(byte_changes(), min_size=1, max_size=3))
def test_changed_bytes_never_change_what_is_loaded(trained, flag, name, changes):
    with open('fuzzed', 'wb') as file:
        file.write(change_bytes(trained[name], changes))
    loaded = load_or_refuse(flag, 'fuzzed')
    if loaded is not None:
        with open('good', 'wb') as file:
            file.write(trained[name])
        assert loaded == load_or_refuse(flag, 'good')


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


@each_kind
@fuzz
@given(data=st.data())
def test_changed_members_load_or_are_refused(trained, flag, name, data):
    with open('fuzzed', 'wb') as file:
        file.write(trained[name])
    content, spoilt = read('fuzzed'), read('fuzzed')
    for key in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, unique=True)):
        change = data.draw(VALUES)
        name = data.draw(st.sampled_from([key, key, key, 'predictor/' + key, key + '/m', '/', 't']))
        spoilt.pop(key, None)
        if change is not None:
            with numpy.errstate(all='ignore'):
                spoilt[name] = change(content[key])
    with open('fuzzed', 'wb') as file:
        numpy.savez(file, **spoilt)
    loaded = load_or_refuse(flag, 'fuzzed')
    for key, value in (loaded or {}).items():
        # What was loaded is what the file holds, if it is still there.
        if flag == '-r' and key in spoilt and key[-2:] in ('/W', '/b', '/m', '/v'):
            assert spoilt[key].tobytes() == value
