"""Makes each call of a run to the file system fail in turn, and looks at what is left.

python tests/failing_calls.py

It takes minutes, and needs Linux and a C compiler. Of each kind of call, the first fails, then the
second and so on, once or from there on, in a new run and in one that is resumed. Exit status 1: a
run did not end in order, a file was damaged or left over, or an epoch that had been saved was lost.
"""

import contextlib
import ctypes
import errno
import io
import itertools
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile

CLONE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = {'classifier.model', 'mlp.model', 'mlp.state'}
EPOCHS, WORDS = 2, ['--noplot', '-s', '1', '-e', '2']  # of each run
KINDS = """open ENOSPC EACCES EMFILE, write ENOSPC EIO, rename ENOSPC EACCES ENOENT,
unlink EACCES EBUSY, mkdir ENOSPC EROFS, close EIO EDQUOT, flock ENOLCK EBADF, fsync EIO ENOSPC,
fstat EIO ESTALE, stat EACCES ESTALE, read EIO ESTALE, lseek EIO, opendir EIO EACCES"""


def run(words, *failure):
    """Trains in a child, in which calls fail. Returns its status and its lines of errors."""
    from train_mnist import main

    with tempfile.TemporaryFile('w+') as errors:
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            signal.alarm(60)
            ctypes.CDLL(os.environ['LD_PRELOAD']).fail_calls(*failure)
            os._exit(main([*WORDS, *words]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        errors.seek(0)
        return status, errors.read().splitlines()


def load(initmodel, resume):
    """Loads a snapshot as a run does. Returns its epochs and the number of records in its log."""
    from chainer_mnist import snapshots

    from train_mnist import Adam, L, evaluate, load_mnist, net

    model = L.Classifier(net.MLP(50, 10))
    evaluate(model, *load_mnist()[0])
    optimizer = Adam().setup(model)
    with contextlib.redirect_stdout(io.StringIO()):
        checkpoint = snapshots.load_checkpoint(initmodel, resume, optimizer, 50)
    return optimizer.epoch, len(checkpoint.records)


def damage(out, epochs):
    """What is wrong with the files of a run that has to have finished so many epochs."""
    names = {*os.listdir(out)} if os.path.isdir(out) else set()
    found = [f'{name} is left' for name in names if name.endswith('.tmp')]
    found += [f'{name} is lost' for name in FILES - names if epochs]
    try:
        for name in FILES & names:
            load(f'{out}/{name}', None)
        saved, records = load(None, f'{out}/mlp.state') if 'mlp.state' in names else (0, 0)
    except Exception as error:
        return [*found, str(error)]
    good = epochs <= saved == records
    return found if good else [*found, f'{saved} epochs and {records} records']


def fail_each(kind, error, forever, good, out):
    """Lets the first call fail, then the second, and so on. Yields whether something is wrong."""
    calls = ctypes.c_int.from_buffer(mmap.mmap(-1, 4))  # the child counts, and its parent reads
    for nth in itertools.count(1):
        shutil.rmtree(out, ignore_errors=True)
        if good:
            shutil.copytree(good, out)
        calls.value = 0
        failure = out.encode(), kind.encode(), nth, error, forever, ctypes.byref(calls)
        status, lines = run(['-o', out, *(['-r', out] if good else [])], *failure)
        if calls.value < nth:
            return
        wrong = damage(out, EPOCHS * (bool(good) + (status == 0)))
        if status not in (0, 1) or len(lines) != status:
            wrong += [f'status {status}', *lines]
        for each in wrong:
            print(f'  {kind} {nth}, {os.strerror(error)}, {forever=}: {each}')
        yield bool(wrong)


def main(folder):
    import train_mnist

    images = [(x[:300], t[:300]) for x, t in train_mnist.load_mnist()]
    train_mnist.load_mnist = lambda scaled=True: images
    out, good, failed = f'{folder}/out', f'{folder}/good', 0
    with contextlib.redirect_stdout(io.StringIO()):
        train_mnist.main([*WORDS, '-o', good])  # here, so that no child has to compile with Numba
    for name, start in ('new', None), ('resumed', good):
        for kind, *errors in map(str.split, KINDS.split(',')):
            wrong = []
            for error, forever in itertools.product(errors, (False, True)):
                wrong += fail_each(kind, getattr(errno, error), forever, start, out)
            print(f'{name}, {kind}: {len(wrong)} tries, {sum(wrong)} wrong', flush=True)
            failed += sum(wrong)
    return failed > 0


def start():
    """Starts this script again, with the library in front of the system's."""
    with tempfile.TemporaryDirectory() as folder:
        library = f'{folder}/failing_calls.so'
        source = f'{CLONE}/tests/failing_calls.c'
        subprocess.check_call(['cc', '-shared', '-fPIC', '-o', library, source, '-ldl'])
        variables = {'LD_PRELOAD': library, 'PYTHONPATH': CLONE, 'OPENBLAS_NUM_THREADS': '1'}
        command = [sys.executable, __file__, folder]
        return subprocess.call(command, env={**os.environ, **variables})


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1]) if sys.argv[1:] else start())
