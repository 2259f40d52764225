"""Several hosts: makes sure that they run the same code, and notices one that is gone.

Where the power fails or a cable is cut, nobody says so: MPI, and mpiexec with it, wait for an
answer for ever. So a connection that nothing is sent on leads from each process to process 0, and
the kernels see to it: they ask each other whether they are still there, whatever the processes do.
"""

import atexit
import contextlib
import hashlib
import os
import secrets
import signal
import socket
import sys
import threading
import time

from chainer_mnist.errors import UserError, print_error, to_nowhere

PATIENCE = 30  # seconds without an answer after which a host is gone
ASKED = 4  # times within them that it is asked
GRACE = 5  # seconds for a process to connect, and for mpiexec to end it when another has failed
FAREWELL = b'.'

GONE = threading.Lock()

PACKAGE = os.path.dirname(os.path.abspath(__file__))
CLONE = os.path.dirname(PACKAGE)


def check_same(mpi_comm):
    """Makes sure that all processes run the same code with the same options.

    Args:
        mpi_comm (mpi4py.MPI.Comm): All processes. Each has to call this.

    Raises:
        UserError: If one does not.

    """
    options = mpi_comm.allgather(sys.argv[1:])
    for rank, others in enumerate(options):
        if others != options[0]:
            raise UserError(
                f'process {rank} has other options than process 0; give all of them the same',
                shared=True,
            )
    mine = {
        os.path.relpath(path, CLONE): _digest(path)
        for path in [getattr(module, '__file__', None) for module in list(sys.modules.values())]
        if path and os.path.dirname(os.path.abspath(path)) in (CLONE, PACKAGE)
    }
    zeros = mpi_comm.bcast(mine)
    other = sorted(name for name in {*mine, *zeros} if mine.get(name) != zeros.get(name))
    for name, host in mpi_comm.allgather((other and other[0], socket.gethostname())):
        if name:
            raise UserError(
                f'{name} on {host} is not that of process 0; bring the clone to the same state on '
                'all hosts',
                shared=True,
            )


def _digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).digest()


class Watch:
    """Ends this process, and what has started it, when a host that it depends on is gone.

    That is the host of process 0, and for process 0 every other host. It also ends it when a
    process there has ended before its time, of which not every mpiexec hears. Where process 0
    cannot be reached under the name of its host, nothing is watched.

    Args:
        mpi_comm (mpi4py.MPI.Comm): All processes. Each has to make one.

    """

    def __init__(self, mpi_comm):
        # MPICH says by which name mpiexec has been told of this host.
        name = os.environ.get('PMI_HOSTNAME') or socket.gethostname()
        if mpi_comm.rank == 0:
            with socket.create_server(('', 0), backlog=mpi_comm.size) as server:
                token = secrets.token_bytes(16)
                mpi_comm.bcast((name, server.getsockname()[1], token))
                names = mpi_comm.gather(None)
                connections = dict(_accept(server, token, sum(map(bool, names))))
            mpi_comm.bcast(set(connections))
            self._connections = {names[rank]: each for rank, each in connections.items()}
        else:
            zero, port, token = mpi_comm.bcast(None)
            connection = _connect(zero, port, token, mpi_comm.rank)
            mpi_comm.gather(connection and name)
            known = mpi_comm.rank in mpi_comm.bcast(None)
            self._connections = {zero: connection} if known else {}
        for name, connection in self._connections.items():
            _keep_alive(connection)
            threading.Thread(target=_wait, args=(connection, name), daemon=True).start()
        # A process that fails has to say so: mpiexec does not hear of it from another host.
        atexit.register(_abort, mpi_comm)

    def end(self):
        """Tells the others that this process ends in its time."""
        atexit.unregister(_abort)
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.sendall(FAREWELL)


def _abort(mpi_comm):
    to_nowhere(sys.stderr)  # all has been said, but MPI would say more
    time.sleep(1)  # what has been said reaches mpiexec before the end does
    mpi_comm.Abort(1)


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


def _keep_alive(connection):
    """Lets the kernels ask each other for signs of life."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = PATIENCE // (ASKED + 1)
    for option, value in (('IDLE', every), ('INTVL', every), ('CNT', ASKED)):
        if hasattr(socket, f'TCP_KEEP{option}'):  # not every system has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, f'TCP_KEEP{option}'), value)


def _wait(connection, name):
    """Waits for the end of the process at the other end of a connection, or of its host."""
    try:
        said = connection.recv(1)
    except ConnectionError:
        said = b''
    except OSError:  # nobody has answered
        GONE.acquire()  # for good: the first of several connections says it
        print_error(
            f'{os.path.basename(sys.argv[0])}: error: host {name} no longer answers; go on with -r '
            'from the last finished epoch, whose files are whole'
        )
        time.sleep(1)  # the line reaches mpiexec through what has started this process
        # mpiexec would wait for that host for ever. It ends when one that it has started is gone.
        with contextlib.suppress(OSError):
            os.kill(os.getppid(), signal.SIGKILL)
        os._exit(1)
    if said != FAREWELL:  # it has failed, and has said why
        time.sleep(GRACE)
        os._exit(1)
