"""Files that are missing, damaged, foreign or hostile: one line, and nothing half loaded."""

import os
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

from chainer_mnist.console import UserError
from chainer_mnist.npz import read_npz

import chainer.links as L
import numpy
import pytest
from chainer import serializers
from corruption import VALUES, Payload, byte_changes, change_bytes, fuzz
from hypothesis import given
from hypothesis import strategies as st
from plain_chainer import plain_members, run_trainer
from snapshot_targets import assert_refused, load_or_refuse, make, save, train

from helpers import make_pipe, read, rewrite

FOREIGN = Path(__file__).parent / 'foreign'
KINDS = [('-m', 'classifier.model'), ('-m', 'mlp.state'), ('-r', 'mlp.state'), ('-r', 'trainer')]
each_kind = pytest.mark.parametrize(('flag', 'name'), KINDS)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, tiny):
    """A folder of the files of a run of this project, and of a snapshot of a Trainer."""
    out = tmp_path_factory.mktemp('trained')
    save(out, train(make()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CHAINER_DATASET_ROOT', str(tiny))
        run_trainer(out / 'plain', 1, filename='trainer', savefun=plain_members)
    shutil.move(out / 'plain' / 'trainer', out)
    os.remove(out / 'log')
    return out


@pytest.fixture
def files(trained):
    """The same files in the current directory, to be damaged."""
    shutil.copytree(trained, '.', dirs_exist_ok=True)


# What is no snapshot


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_what_cannot_be_opened(flag):
    message = 'cannot read nowhere: No such file or directory; check the path'
    assert_refused(flag, 'nowhere', message)
    if os.name != 'nt':
        make_pipe('pipe')
        for path in ('pipe', '/dev/zero'):
            assert_refused(flag, path, f'cannot read {path}: not a regular file; use another copy')


SAVE = 'save the arrays with numpy.savez'
NAMED = [
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file', r'convert it with chainer\.serializers\.load_hdf5 .*'),
    (b'version https://git-lfs.github.com/spec/v1\noid', 'a Git LFS pointer', 'run git lfs pull'),
    ((FOREIGN / 'model.pt').read_bytes(), 'a PyTorch file', SAVE),
    ((FOREIGN / 'old.pt').read_bytes(), 'a PyTorch file', SAVE),
    (b'\x93NUMPY\x01\x00', 'a single array', SAVE),
    (b'<!DOCTYPE html><html><title>Sign in', 'a web page', 'download the file itself'),
    (b'{"class_name": "Sequential"}', 'a JSON file', 'use an npz file'),
    (b'These are not the weights', 'a text file', 'use an npz file'),
    (b'PK\x03\x04', 'a zip archive, truncated or without arrays', 'use another copy'),
    (b'\x89PNG\r\n\x1a\n', 'an image', 'use an npz file'),
    (b'\0\0\0\x18ftypheic', 'an image', 'use an npz file'),
    *(
        (pickle.dumps(value, protocol), 'a pickle, which can run code', SAVE)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        for value in ({'l1': [1.0]}, [1.0], L.Linear(2, 3))
    ),
    *(
        (data, 'a file of an unknown kind', 'use another file')
        for data in (b'', b'\x08\x07\x12\x07', b'\xff' * 100)
    ),
]


@pytest.mark.parametrize(('data', 'what', 'fix'), NAMED, ids=range(len(NAMED)))
def test_files_of_other_kinds_are_named(data, what, fix):
    Path('mlp.model').write_bytes(data)
    for flag in ('-m', '-r'):
        assert_refused(flag, 'mlp.model', f'mlp.model is {what}, not an npz file; {fix}')


# Hostile files


def test_names_of_any_length_make_a_short_message():
    numpy.savez('names.npz', **{letter * 60000: 0 for letter in 'abc'})
    assert_refused('-m', 'names.npz', r'names.npz was saved from a different network .{,400}')
    data = Path('names.npz').read_bytes()
    Path('names.npz').write_bytes(data.replace(b'a' * 60000, b'b' * 60000, 1))
    assert_refused('-m', 'names.npz', r'cannot read names.npz: .{,300}')


@each_kind
def test_nothing_is_unpickled(files, trained, flag, name):
    payload = numpy.array(Payload(), dtype=object)
    for key in [*read(name), 'stranger', 'updater/model:main/stranger']:
        shutil.copy(trained / name, name)
        rewrite(name, lambda content, key=key: content.update({key: payload}))
        load_or_refuse(flag, name)
        assert not os.path.exists('the-payload-ran'), key
    # Chainer itself runs it.
    numpy.savez('bad.npz', W=payload, b=numpy.zeros(1, 'f'))
    serializers.load_npz('bad.npz', L.Linear(1, 1))
    assert os.path.exists('the-payload-ran')


MEGABYTES = 32
ZEROS = bytes(MEGABYTES << 20)


def npy(shape, dtype='<f4', data=b''):
    """A member whose header declares what it likes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + data


BOMBS = [
    *((npy(shape), zipfile.ZIP_DEFLATED) for shape in [(10**12,), (6, 10**12), (2**62, 2**62)]),
    (npy((-6, -784)), zipfile.ZIP_DEFLATED),
    (npy((6, 784), '<U100000000'), zipfile.ZIP_DEFLATED),
    (npy('(' * 3000 + ')' * 3000), zipfile.ZIP_DEFLATED),
    (b'\x93NUMPY\x02\x00\xff\xff\xff\x7f' + ZEROS, zipfile.ZIP_DEFLATED),
    *(
        (npy((6, 784), data=ZEROS), compression)
        for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
]


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('lies', [False, True], ids=['', 'lies'])
@pytest.mark.parametrize(('member', 'compression'), BOMBS, ids=range(len(BOMBS)))
def test_bombs_do_not_fill_the_memory(files, member, compression, lies):
    with zipfile.ZipFile('mlp.model', 'a') as archive:
        archive.writestr('l1/W.npy', member, compression)  # the last of a name counts
    if lies:  # about the size of what it unpacks to
        data, size = Path('mlp.model').read_bytes(), struct.pack('<I', len(member))
        assert size in data
        Path('mlp.model').write_bytes(data.replace(size, struct.pack('<I', 18944)))
    tracemalloc.start()
    try:
        assert load_or_refuse('-m', 'mlp.model') is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES << 20 >> 2


def test_what_compresses_well_is_read_up_to_a_limit():
    for megabytes in (15, 17):
        numpy.savez_compressed(f'{megabytes}.npz', x=numpy.zeros(megabytes << 20, 'u1'))
    assert read_npz('15.npz')['x'].nbytes == 15 << 20
    with pytest.raises(UserError, match="declared size exceeds the file's"):
        read_npz('17.npz')


# Fuzz


@each_kind
@fuzz
@given(changes=st.lists(byte_changes(), min_size=1, max_size=3))
def test_changed_bytes_never_change_what_is_loaded(trained, flag, name, changes):
    Path('fuzzed').write_bytes(change_bytes((trained / name).read_bytes(), changes))
    loaded = load_or_refuse(flag, 'fuzzed')
    if loaded is not None:
        expected = load_or_refuse(flag, trained / name)
        keys = [key for key in loaded if flag == '-r' or key[-2:] in ('/W', '/b')]
        assert [loaded[key] for key in keys] == [expected[key] for key in keys]


@each_kind
@fuzz
@given(data=st.data())
def test_changed_members_load_or_are_refused(trained, flag, name, data):
    members, damaged = read(trained / name), read(trained / name)
    for key in data.draw(st.lists(st.sampled_from(sorted(members)), min_size=1, unique=True)):
        change = data.draw(VALUES)
        new = data.draw(st.sampled_from([key, key, key, 'predictor/' + key, key + '/m', '/', 't']))
        damaged.pop(key, None)
        if change is not None and members[key].dtype.kind in 'biuf':
            with numpy.errstate(all='ignore'):
                damaged[new] = change(members[key])
    numpy.savez('fuzzed.npz', **damaged)
    for key, value in (load_or_refuse(flag, 'fuzzed.npz') or {}).items():
        # What was loaded is what the file holds, if it is still there.
        if flag == '-r' and key in damaged and key[-2:] in ('/W', '/b', '/m', '/v'):
            assert damaged[key].astype('f').tobytes() == value
