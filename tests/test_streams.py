"""Standard streams that are closed, full, or read by nobody; and a bar on a terminal."""

import os
import signal
import subprocess

import pytest

from helpers import command_line, environment, main, read, run, same

with_full_disk = pytest.mark.skipif(
    os.name == 'nt' or not os.path.exists('/dev/full'), reason='it stands in for a full disk'
)


@pytest.mark.skipif(os.name == 'nt', reason='its shells cannot close a stream')
@pytest.mark.parametrize('closed', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_streams_that_are_closed(closed):
    words = command_line('-e', 1, '-s', 1)
    done = subprocess.run(['sh', '-c', f'exec "$@" {closed}', 'sh', *words], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b'')
    assert done.stdout.count(b'epoch 1\n') == (closed in ('<&-', '2>&-'))
    assert main('-e', 1, '-s', 1, '-o', 'b', '--noplot')[0] == 0
    assert same('result/mlp.state', 'b/mlp.state')


@with_full_disk
@pytest.mark.parametrize('words', [['-e', '1'], ['--help'], ['--version']], ids=' '.join)
def test_a_full_disk_under_standard_output(words):
    with open('/dev/full', 'w') as full:
        options = {'capture_output': False, 'stdout': full, 'stderr': subprocess.PIPE}
        done = run(*words, env=environment(PYTHONUNBUFFERED=None), **options)
        assert (done.returncode, done.stderr) == (
            1,
            'train_mnist.py: error: cannot write to standard output: No space left on device; '
            'send it elsewhere\n',
        )
        if words == ['-e', '1']:
            again = run(*words, env=environment(PYTHONUNBUFFERED='1'), **options)
            assert (again.returncode, again.stderr) == (done.returncode, done.stderr)


@with_full_disk
@pytest.mark.parametrize('unbuffered', [None, '1'])
def test_a_full_disk_under_standard_error(unbuffered):
    env = environment(PYTHONUNBUFFERED=unbuffered)
    with open('/dev/full', 'w') as full:
        done = run('-b', 0, capture_output=False, stderr=full, env=env)
        assert done.returncode == 2
        process = subprocess.Popen(
            command_line('-e', 10**6), stdout=subprocess.PIPE, stderr=full, text=True, env=env
        )
        while process.stdout.readline() != 'epoch 2\n':
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143
    assert read('result/mlp.state')['epoch'] >= 1


@pytest.mark.parametrize('words', [['--help'], ['-e', '1']], ids=' '.join)
def test_nobody_reads_on(words):
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    with subprocess.Popen(
        command_line(*words), env=environment(PYTHONUNBUFFERED=None), **options
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 141
