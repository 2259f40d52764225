"""What a command prints, also into streams that are closed, full, or read by nobody."""

import os
import signal

import pytest

from helpers import environment, posix_only, read, run, start, wait_for

with_full_disk = pytest.mark.skipif(
    not os.path.exists('/dev/full'), reason='it takes the place of a full disk'
)


@posix_only
@pytest.mark.parametrize('closed', ['2>&-', '<&- >&- 2>&-'])
def test_streams_that_are_closed(closed):
    done = run('-e', 1, prefix=['sh', '-c', f'exec "$@" {closed}', 'sh'])
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.count('epoch 1\n') == (closed == '2>&-')
    assert read('result/mlp.state')['epoch'] == 1


@with_full_disk
@pytest.mark.parametrize(('word', 'unbuffered'), [('-e1', None), ('-e1', '1'), ('--help', None)])
def test_a_full_disk_under_standard_output(word, unbuffered):
    with open('/dev/full', 'w') as full:
        process = start(word, stdout=full, env=environment(PYTHONUNBUFFERED=unbuffered))
        _, errors = process.communicate(timeout=60)
    message = 'cannot write to standard output: No space left on device; redirect it elsewhere'
    assert (process.returncode, errors) == (1, f'train_mnist.py: error: {message}\n')


@with_full_disk
def test_a_full_disk_under_standard_error():
    with open('/dev/full', 'w') as full:
        assert start('-b', 0, stderr=full).wait(timeout=60) == 2
        process = start('-e', 10**6, stderr=full)
        wait_for(process, 'epoch 2')
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert read('result/mlp.state')['epoch'] >= 1


@pytest.mark.parametrize('word', ['-e1', '--help'])
def test_the_reader_of_standard_output_is_gone(word):
    with start(word, env=environment(PYTHONUNBUFFERED=None)) as process:
        process.stdout.close()
        assert process.stderr.read() == ''
    assert process.returncode in (-getattr(signal, 'SIGPIPE', 0), 1)
