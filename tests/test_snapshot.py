"""Snapshots that are missing, damaged, foreign or hostile: one line, and nothing half-loaded."""

import contextlib
import os
import re
import struct
import subprocess
import tracemalloc
import zipfile

from chainer_mnist import formats
from chainer_mnist.errors import UserError

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from hypothesis import given
from hypothesis import strategies as st

import train_mnist
from helpers import command_line, make_pipe, read, rewrite, run
from net import TrainFlagMLP
from spoiling import (
    UNITS,
    VALUES,
    Files,
    Payload,
    Target,
    assert_refused,
    byte_changes,
    change_bytes,
    fuzz,
    load_or_refuse,
)


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
        make_pipe('pipe')
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
    open('empty', 'w').close()
    for path in ('text', 'empty'):
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
        lambda array: array.astype('i4'),
        lambda array: array.astype('c8'),
        lambda array: array.astype('U'),
        lambda array: array[..., None],
        lambda array: array[..., :-1],
        lambda array: array.ravel()[0],
        lambda array: array * numpy.float32('nan'),
        lambda array: array + numpy.float32('inf'),
        lambda array: array.astype('f8') * numpy.nan,
        lambda array: array.astype('f2') + numpy.float16('inf'),
        lambda array: array.astype('f8') + 3.5e38,
        lambda array: array.astype('>f8') - 1e39,
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


@each_kind
@pytest.mark.parametrize(
    ('dtype', 'said'),
    [
        ('f2', 'float16'),
        ('f8', 'float64'),
        ('>f2', 'big-endian float16'),
        ('>f4', 'big-endian float32'),
        ('>f8', 'big-endian float64'),
    ],
)
def test_other_numbers_load_as_chainer_loads_them(files, flag, name, dtype, said, monkeypatch):
    hints = []
    monkeypatch.setattr(formats, 'hint', hints.append)
    counts = {'f': dtype, 'i': '>i2'}
    rewrite(
        name,
        lambda content: content.update(
            {k: a.astype(counts[a.dtype.kind]) for k, a in content.items()}
        ),
    )
    ours, chainers = Target(), Target()
    ours.load(flag, name)
    assert hints == [f'{name} holds {said}: cast to float32']
    if name == 'mlp.model':
        serializers.load_npz(name, chainers.predictor)
    else:
        serializers.load_npz(name, chainers.model)
    if flag == '-r':
        serializers.load_npz(name, chainers.optimizer)
        for param in chainers.model.params():  # Chainer casts these only as it adds to them
            state = param.update_rule.state
            state.update({key: array.astype('f') for key, array in state.items()})
    assert ours.content() == chainers.content()
    assert all(param.dtype == numpy.float32 for param in ours.model.params())


@pytest.mark.parametrize('dtype', ['i1', 'u1', 'i2', '>i4', 'u4', '>u8', 'u8'])
def test_counts_of_any_width(files, dtype):
    """Windows counts with 32 bits."""
    before = read('mlp.state')
    rewrite(
        'mlp.state',
        lambda state: state.update({k: a.astype(dtype) for k, a in state.items() if a.ndim == 0}),
    )
    target = Target()
    target.load('-r', 'mlp.state')
    assert target.optimizer.t == before['t'] == 10
    assert target.optimizer.epoch == 2
    assert {param.update_rule.t for param in target.model.params()} == {10}


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
    message = r'other.npz holds no weights of this network \(l1, l2, l3\), but conv1; give -m a .*'
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


@each_kind
def test_nothing_is_unpickled(files, trained, flag, name):
    for key in [*read(name), 'stranger']:
        payload = numpy.array(Payload(), dtype=object)
        rewrite(name, lambda content, key=key, payload=payload: content.update({key: payload}))
        target = Target()
        with contextlib.suppress(UserError):
            target.load(flag, name)
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
            assert spoilt[key].astype('f').tobytes() == value
