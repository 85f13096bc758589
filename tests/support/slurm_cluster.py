"""A Slurm of one node in a folder, from the system's packages: munged, slurmctld and slurmd of our own."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")

CONF = """\
ClusterName=single
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={daemon}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerParameters=batch_sched_delay=1,requeue_delay=1
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def program(name: str) -> str | None:
    """Where a program lies; daemons are seldom on a user's path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing() -> str | None:
    """Why there can be no Slurm here, or None."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "needs Linux and root"
    absent = [name for name in PROGRAMS if program(name) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)" if absent else None


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which commands find the Slurm, while it runs.

    Raises:
        RuntimeError: it does not start here, in a container without the rights, say.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    ports = _free_ports(2)
    host = socket.gethostname()
    conf = folder / "slurm.conf"
    cpus = len(os.sched_getaffinity(0))
    conf.write_text(CONF.format(host=host, user="root", folder=folder, controller=ports[0], daemon=ports[1], cpus=cpus))
    variables = {"SLURM_CONF": str(conf)}
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
    own = [f"--{option}={folder / name}" for option, name in files.items()]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons.append(_daemon(folder, ["munged", "--foreground", "--force", f"--key-file={key}", *own], variables))
        _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
        daemons.append(_daemon(folder, ["slurmctld", "-D", "-f", str(conf)], variables))
        daemons.append(_daemon(folder, ["slurmd", "-D", "-f", str(conf)], variables))
        _wait(lambda: "idle" in said(["sinfo", "-h", "-o", "%T"], variables), daemons, folder)
        yield variables
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=30)


def said(command: list[str], variables: dict[str, str]) -> str:
    """What a command printed; nothing where it failed."""
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    return done.stdout


def _daemon(folder: Path, command: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    path = program(command[0])
    assert path is not None
    with (folder / f"{command[0]}.out").open("wb") as output:
        return subprocess.Popen(
            [path, *command[1:]], env={**os.environ, **variables}, stdout=output, stderr=output, start_new_session=True
        )


def _wait(condition: Callable[[], bool], daemons: list[subprocess.Popen[bytes]], folder: Path) -> None:
    until = time.monotonic() + 60
    while not condition():
        if any(daemon.poll() is not None for daemon in daemons) or time.monotonic() > until:
            outputs = [path.read_text(errors="replace")[-500:] for path in sorted(folder.glob("*.out"))]
            raise RuntimeError(f"Slurm does not start here: {' | '.join(outputs)}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
