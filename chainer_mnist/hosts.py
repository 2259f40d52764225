"""Several hosts: makes sure that they run the same code, and notices one that is gone.

Where the power fails or a cable is cut, nobody says so: MPI, and mpiexec with it, wait for an
answer for ever. So a connection that nothing is sent on leads from each process to process 0, and
the kernels see to it: they ask each other whether they are still there, whatever the processes do.
"""

import contextlib
import hashlib
import os
import secrets
import signal
import socket
import sys
import threading
import time

from chainer_mnist.errors import UserError, print_error

PATIENCE = 30  # seconds without an answer after which a host is gone
ASKED = 4  # times within them that it is asked
GRACE = 5  # seconds that mpiexec has to end a process after process 0

PACKAGE = os.path.dirname(os.path.abspath(__file__))
CLONE = os.path.dirname(PACKAGE)


def check_code(mpi_comm):
    """Makes sure that this process runs the same code as process 0.

    Args:
        mpi_comm (mpi4py.MPI.Comm): All processes. Each has to call this.

    Raises:
        UserError: If it does not.

    """
    mine = {
        os.path.relpath(path, CLONE): _digest(path)
        for path in [getattr(module, '__file__', None) for module in list(sys.modules.values())]
        if path and os.path.dirname(os.path.abspath(path)) in (CLONE, PACKAGE)
    }
    others = mpi_comm.bcast(mine)
    for name in sorted({*mine, *others}):
        if mine.get(name) != others.get(name):
            raise UserError(
                f'{name} is not that of process 0; bring the clone to the same state on all hosts'
            )


def _digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).digest()


def watch(mpi_comm):
    """Ends this process, and what has started it, when a host that it depends on is gone.

    That is the host of process 0, and for process 0 every other host. Where process 0 cannot be
    reached under the name of its host, nothing is watched.

    Args:
        mpi_comm (mpi4py.MPI.Comm): All processes. Each has to call this.

    """
    # MPICH says by which name mpiexec has been told of this host.
    name = os.environ.get('PMI_HOSTNAME') or socket.gethostname()
    if mpi_comm.rank == 0:
        with socket.create_server(('', 0), backlog=mpi_comm.size) as server:
            token = secrets.token_bytes(16)
            mpi_comm.bcast((name, server.getsockname()[1], token))
            names = mpi_comm.gather(None)
            connections = dict(_accept(server, token, sum(map(bool, names))))
        mpi_comm.bcast(set(connections))
        for rank, connection in connections.items():
            _start(connection, names[rank], 0)
    else:
        zero, port, token = mpi_comm.bcast(None)
        connection = _connect(zero, port, token, mpi_comm.rank)
        mpi_comm.gather(connection and name)
        if mpi_comm.rank in mpi_comm.bcast(None):
            _start(connection, zero, mpi_comm.rank)


def _connect(name, port, token, rank):
    with contextlib.suppress(OSError):
        connection = socket.create_connection((name, port), timeout=GRACE)
        connection.sendall(token + rank.to_bytes(4, 'big'))
        return connection
    return None


def _accept(server, token, count):
    """Yields rank and connection of those who have connected, if they know the token."""
    server.settimeout(GRACE)
    with contextlib.suppress(OSError):
        for _ in range(count):
            connection, _ = server.accept()
            connection.settimeout(GRACE)
            said = connection.recv(len(token) + 4)
            if secrets.compare_digest(said[:-4], token):
                yield int.from_bytes(said[-4:], 'big'), connection


def _start(connection, name, rank):
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = PATIENCE // (ASKED + 1)
    for option, value in (('IDLE', every), ('INTVL', every), ('CNT', ASKED)):
        if hasattr(socket, f'TCP_KEEP{option}'):  # macOS has no IDLE, and Python 3.9 none there
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, f'TCP_KEEP{option}'), value)
    threading.Thread(target=_wait, args=(connection, name, rank), daemon=True).start()


def _wait(connection, name, rank):
    try:
        connection.recv(1)
    except ConnectionError:
        pass
    except OSError:  # nobody has answered
        print_error(
            f'{os.path.basename(sys.argv[0])}: error: host {name} no longer answers; go on with -r '
            'from the last finished epoch, whose files are whole'
        )
        # mpiexec waits for the host too, and what has started this process keeps mpiexec waiting.
        with contextlib.suppress(OSError):
            os.kill(os.getppid(), signal.SIGTERM)
        os._exit(1)
    if rank != 0:  # process 0 has ended: at the end of the run, or mpiexec ends this one too
        time.sleep(GRACE)
        os._exit(1)
