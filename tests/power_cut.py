"""Cuts the power of a file system that runs write to, and looks at what is left.

sudo python tests/power_cut.py [TRIES]

Each file system is an image of its own. The cut is the kernel's: what has not been flushed is lost.
In the first half of the tries the run has ended, in the second half it is cut while it trains. Exit
status 1: a file was empty or damaged, or an epoch that had been saved was lost.
"""

import contextlib
import fcntl
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

TRAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'train_mnist.py')
FILE_SYSTEMS = [('xfs', ''), ('ext4', ''), ('ext4', 'noauto_da_alloc'), ('ext4', 'data=writeback')]
SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, struct.pack('I', 2)


def cut_power(mount):
    """Another program flushes a file of its own, which writes out what is known of all others."""
    with open(f'{mount}/other', 'ab') as file:
        file.write(b'x')
        file.flush()
        os.fsync(file.fileno())
        fcntl.ioctl(file, SHUTDOWN, WITHOUT_FLUSHING)


def train(out, epochs):
    command = [sys.executable, TRAIN, '--noplot', '-s', '1', '-e', str(epochs), '-o', out]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def damage(out, epochs):
    """What is wrong with the files of a run that has said to have finished some epochs."""
    try:
        for name in ('classifier.model', 'mlp.model', 'mlp.state'):
            with zipfile.ZipFile(f'{out}/{name}') as archive:
                if archive.testzip():
                    return f'{name} is damaged'
        with open(f'{out}/log') as file:
            saved = len(json.load(file))
        return f'{saved} epochs in place of {epochs}' if saved < epochs else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return str(error)


def main(tries):
    failed = 0
    for kind, options in FILE_SYSTEMS:
        found = []
        with tempfile.TemporaryDirectory() as folder:
            image, mount = f'{folder}/image', f'{folder}/mount'
            os.mkdir(mount)
            with open(image, 'wb') as file:
                file.truncate(400 << 20)
            subprocess.check_call([f'mkfs.{kind}', '-q', image])
            words = ['mount', '-o', f'loop,{options}'.rstrip(','), image, mount]
            for i in range(tries):
                subprocess.check_call(words)
                out, epochs = f'{mount}/{i}', 3
                with train(out, epochs if i < tries // 2 else 10**6) as process:
                    if i < tries // 2:
                        process.communicate()
                    else:
                        while process.stdout.readline() != f'epoch {epochs + 1}\n':
                            pass
                        time.sleep(random.uniform(0, 1))
                    cut_power(mount)
                    process.kill()
                subprocess.check_call(['umount', mount])
                subprocess.check_call(words)
                found += filter(None, [damage(out, epochs)])
                subprocess.check_call(['umount', mount])
        print(f'{kind} {options}: {tries - len(found)} of {tries} came through', *found, sep='\n  ')
        failed += len(found)
    return failed > 0


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(int([*sys.argv, '10'][1])))
