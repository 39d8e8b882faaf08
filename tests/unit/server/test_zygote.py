"""Forking workers through the zygote (in processes of their own, so that this one stays as it is)."""

import subprocess
import sys

SCRIPT = """
import os, signal, socket
from proxeny.server import messages, zygote
from proxeny.server.channel import Channel

def worker(index, epoch, sock, segment):
    channel = Channel(sock)
    channel.send(messages.WorkerStarted(os.getpid()))
    while channel.receive() is not None:
        pass
    return 40 + index

def read(channel):
    while not (received := channel.receive()):
        assert received is not None
    return received[0][0]

handle = zygote.start(worker)
workers = []
for index in range(2):
    channel, sock = Channel.pair()
    memory = os.memfd_create("segment")
    handle.fork_worker(index, 0, sock, [memory])
    os.close(memory)
    workers.append((channel, read(channel).pid))
print("pids", *(pid for _, pid in workers), flush=True)
%s
"""


def run(rest: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT % rest], capture_output=True, text=True, timeout=60)


def test_workers_are_mains_children_and_end_with_their_channel() -> None:
    done = run(
        "for channel, pid in workers:\n"
        "    channel.close()\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert done.stdout.split()[3:] == ["40", "41"], done.stderr


def test_workers_outlive_the_zygote() -> None:
    done = run(
        "os.kill(handle.pid, signal.SIGKILL); os.waitpid(handle.pid, 0)\n"
        "print(all(os.waitpid(pid, os.WNOHANG) == (0, 0) for _, pid in workers))\n"
    )
    assert done.stdout.split()[3:] == ["True"], done.stderr


def test_a_stuck_worker_ends_with_main() -> None:
    done = run("for _, pid in workers: os.kill(pid, signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    pids = [int(text) for text in done.stdout.split()[1:3]]
    assert len(pids) == 2
    # The pipes of `run` are inherited by the workers: it returned, so they are gone.
    assert done.returncode == -9
