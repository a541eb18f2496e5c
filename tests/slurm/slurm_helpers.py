"""A Slurm of the tests' own: munged, slurmctld and two slurmd, each node with two GPUs that are device files only.

All its files lie in one folder, its daemons listen on this machine alone, and stopping it ends all of them.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from workflow_helpers import BIN, ROOT, Project

NODES = ("node1", "node2")
DAEMONS = ("munged", "slurmctld", "slurmd")


def reason_against_slurm() -> str | None:
    """Why no Slurm can be started here, or None."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    absent = [name for name in (*DAEMONS, "sbatch", "squeue") if shutil.which(name, path=path) is None]
    if absent:
        return f"no {', '.join(absent)} on this machine (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "slurmd and device files need root"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "no snakemake-executor-plugin-slurm (pip install 'segtrace[slurm]')"
    return None


def wait_until(ready: Callable[[], bool], what: str, *, seconds: float = 600) -> None:
    """Wait until ``ready()``; an error that says ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found


class Cluster:
    """The daemons and the commands of one Slurm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def variables(self) -> dict[str, str]:
        """The environment of daemons and commands."""
        return os.environ | self.environment | {"PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}

    def call(self, *command: str) -> str:
        """Run a command of Slurm's to its end; its output."""
        done = subprocess.run(
            command, env=self.variables(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def daemon(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground, in a session of its own, so that it is ours to end."""
        with (self.folder / f"{name}.out").open("ab") as output:
            self._running[name] = subprocess.Popen(
                command,
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a daemon by a signal; jobs that it started go on."""
        process = self._running.pop(name)
        process.send_signal(number)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_controller(self, *options: str) -> None:
        self.daemon("slurmctld", "slurmctld", "-D", *options)

    def start_node(self, name: str) -> None:
        self.daemon(name, "slurmd", "-D", "-N", name)

    def start(self) -> None:
        """Write the configuration, make the device files, start all daemons and wait until every node is idle."""
        _configure(self.folder)
        munge = self.folder / "munge"
        files = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        self.daemon(
            "munged", "munged", "--foreground", *(f"--{key}={munge / name}" for key, name in files.items())
        )
        wait_until((munge / "socket").exists, "munged has made its socket", seconds=60)
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        wait_until(lambda: self.states() == dict.fromkeys(NODES, "idle"), "all nodes are idle")

    def stop(self) -> None:
        """End all jobs and daemons."""
        if "slurmctld" in self._running:
            subprocess.run(["scancel", "--user=root"], env=self.variables(), timeout=60, check=False)
            with_jobs = time.monotonic() + 60
            while self._squeue() and time.monotonic() < with_jobs:
                time.sleep(1)
        for name in (*NODES, "slurmctld", "munged"):
            if name in self._running:
                self.end(name)
        for (
            process
        ) in psutil.process_iter():  # such as the script of a job whose node was down when the job was ended
            with suppress(psutil.Error):
                if process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    process.kill()

    def states(self) -> dict[str, str]:
        """Node → state; nothing while the controller does not answer."""
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %T"],
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        return dict(line.split() for line in done.stdout.splitlines())

    def _squeue(self) -> str:
        return subprocess.run(
            ["squeue", "-h", "-t", "pending,running,completing", "-o", "%i %k %N"],
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    def jobs(self, rule: str) -> dict[str, str]:
        """Number → node of a rule's jobs that wait or run."""
        rows = [line.split(" ") for line in self._squeue().splitlines()]
        return {row[0]: row[-1] for row in rows if row[1].startswith(f"rule_{rule}")}

    def said_of(self, number: str) -> str:
        """What the controller says of a job."""
        return self.call("scontrol", "show", "job", number)


def _configure(folder: Path) -> None:
    """The files of a cluster of two nodes with two GPUs each, on this machine."""
    (folder / "munge").mkdir(parents=True)
    (folder / "state").mkdir()
    for path in (folder, *folder.parents):  # munged refuses a socket that not everybody can reach
        path.chmod(path.stat().st_mode | 0o011)
    key = folder / "munge/key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for number in range(2 * len(NODES)):
        # character devices without a driver: nothing but their names is used
        os.mknod(folder / f"gpu{number}", 0o020666, os.makedev(240, number))
    controller, *nodes = free_ports(1 + len(NODES))
    host = socket.gethostname().split(".")[0]
    described = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000 Gres=gpu:2"
        for name, port in zip(NODES, nodes, strict=True)
    )
    (folder / "slurm.conf").write_text(
        textwrap.dedent(f"""
            ClusterName=segtrace
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={controller}
            AuthType=auth/munge
            AuthInfo=socket={folder}/munge/socket
            CredType=cred/munge
            SlurmUser=root
            SlurmdUser=root
            StateSaveLocation={folder}/state
            SlurmdSpoolDir={folder}/spool-%n
            SlurmctldPidFile={folder}/slurmctld.pid
            SlurmdPidFile={folder}/slurmd-%n.pid
            SlurmctldLogFile={folder}/slurmctld.log
            SlurmdLogFile={folder}/slurmd-%n.log
            # no cgroups: this works in a container too
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/none
            AccountingStorageType=accounting_storage/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU_Memory
            GresTypes=gpu
            # the nodes have more cores and memory than the machine: requests are counted, not measured
            SlurmdParameters=config_overrides
            MpiDefault=none
            # a node that was set down stays down
            ReturnToService=1
            JobRequeue=1
            KillWait=30
            MinJobAge=300
        """)
        + f"{described}\nPartitionName=main Nodes=ALL Default=YES MaxTime=2880 State=UP\n"
    )
    (folder / "gres.conf").write_text(
        "\n".join(
            f"NodeName={name} Name=gpu File={folder}/gpu[{2 * at}-{2 * at + 1}]"
            for at, name in enumerate(NODES)
        )
        + "\n"
    )


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """A cluster that runs while the block does."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


#: Python loads this file when it starts. It notes what Slurm gave each command of segtrace, and lets a training take ten
#: seconds a step for as long as the file `slow` is there, so that something can happen to it meanwhile: its sixty steps
#: are longer than the time limit of the test of it, and one step is shorter than KillWait.
WATCH = """
import json, os, sys
if os.environ.get("SLURM_JOB_ID") and sys.argv[0].endswith("/segtrace") and len(sys.argv) > 1:
    seen = {k: v for k, v in os.environ.items() if k.startswith(("SLURM", "CUDA"))}
    os.makedirs("seen", exist_ok=True)
    with open(f"seen/{sys.argv[1]}-{os.getpid()}.json", "w") as handle:
        json.dump(seen, handle)
    if sys.argv[1] == "train" and os.path.exists("slow"):
        import time
        from segtrace.train import step
        take = step.take
        def slowly(*arguments, **options):
            if os.path.exists("slow"):
                open("stepping", "w").close()
                time.sleep(10)
            return take(*arguments, **options)
        step.take = slowly
"""


def quick(profile: dict, *, seconds: int = 3) -> None:
    """The profile with less patience: this file system is no network's, and its controller has nothing else to do."""
    profile |= {
        "latency-wait": 20,
        "seconds-between-status-checks": seconds,
        "slurm-init-seconds-before-status-checks": seconds,
        "max-status-checks-per-second": 0.5,
        "jobs": 4,
    }


def submit(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start Snakemake with the project's profile for Slurm, in a process group of its own."""
    return subprocess.Popen(
        [str(BIN / "snakemake"), "--workflow-profile", "slurm", *arguments],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=project.variables(),
    )


def finish(process: subprocess.Popen[str], *, seconds: float = 3000) -> str:
    """Wait for a Snakemake that is to succeed; its output."""
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:  # one that hangs heeds no SIGTERM
            os.killpg(process.pid, signal.SIGKILL)
            print(process.communicate()[0][-6000:])
    assert process.returncode == 0, output[-6000:]
    return output


def without(project: Project, path: Path, made: Sequence[str]) -> Project:
    """A copy of a project, times kept, without these folders of what it made."""
    shutil.copytree(project.path, path, copy_function=shutil.copy2)
    for folder in made:
        shutil.rmtree(path / folder)
    return Project(path, environment=project.environment)


def environment(cluster: Cluster, watch: Path) -> Mapping[str, str]:
    """What a project on the cluster is run with."""
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join(filter(None, (str(watch), os.environ.get("PYTHONPATH", ""))))
    # the plugin takes SLURM_CONF from its jobs, for a cluster's own lies where srun looks by itself
    programs = watch / "bin"
    programs.mkdir(exist_ok=True)
    srun = programs / "srun"
    srun.write_text(
        f'#!/bin/sh\nSLURM_CONF={cluster.environment["SLURM_CONF"]} exec {shutil.which("srun")} "$@"\n'
    )
    srun.chmod(0o755)
    # this cluster has no accounting: see there
    without_accounting = ROOT / "workflow/slurm"
    found = os.pathsep.join((str(programs), str(without_accounting), str(BIN), os.environ["PATH"]))
    return cluster.environment | {"PATH": found, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
