"""Servers and small repositories with a folder that DVC keeps."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
#: Seconds within which a fault has to be said. It takes one by itself.
SOON = 20.0


# --- servers ------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A server of this machine's own: its port, its process, the folder of its files or its address."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End the server, and all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: list[str], *, port: int, log: Path, folder: Path, environ: dict[str, str]
) -> Iterator[Server]:
    """A server that answers on `port` while the block runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    server = Server(port, process, folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield server
    finally:
        server.stop()


def _sshd() -> str | None:
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def reason_against_sshd() -> str:
    """Why no SSH server can be started here; empty if one can."""
    if _sshd() is None:
        return "sshd is not installed (Debian: apt-get install openssh-server)"
    return "" if shutil.which("ssh-keygen") else "ssh-keygen is not installed (Debian: openssh-client)"


def make_key(path: Path) -> None:
    """A key without passphrase, at `path` and `path`.pub."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def sshd(folder: Path) -> Iterator[Server]:
    """An SSH server as the present user, with keys of its own: `key` is let in, `wrong` is not."""
    folder.mkdir()
    for name in ("host", "key", "wrong"):
        make_key(folder / name)
    shutil.copy(folder / "key.pub", folder / "authorized")
    if os.getuid() == 0 and not Path("/run/sshd").is_dir():  # sshd of root refuses to start without it
        Path("/run/sshd").mkdir(mode=0o755)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""
    )
    command = [str(_sshd()), "-D", "-e", "-f", str(folder / "sshd_config")]
    with serving(command, port=port, log=folder / "log", folder=folder, environ=dict(os.environ)) as server:
        yield server


def _moto() -> str | None:
    named = os.environ.get("SEGTRACE_MOTO")
    return shutil.which(named) if named else None


def reason_against_moto() -> str:
    """Why no stand-in for S3 can be started here; empty if one can."""
    if _moto() is None:
        return "SEGTRACE_MOTO names no moto_server; make test-remotes makes one from envs/moto.txt"
    return ""


@contextmanager
def moto(log: Path, *, open_calls: int | None = None) -> Iterator[Server]:
    """A stand-in for S3 with the bucket `segtrace`; after `open_calls` it asks for a key that it knows."""
    port = free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHON"))}
    if open_calls is not None:
        environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(open_calls)
    command = [str(_moto()), "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port=port, log=log, folder=log.parent, environ=environ) as server:
        make_bucket(server, "segtrace")
        yield server


def make_bucket(server: Server, name: str) -> None:
    """Make a bucket by one request, through no proxy."""
    request = urllib.request.Request(f"{server.url}/{name}", method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=20).close()


# --- repositories -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A folder with a home of its own: nobody's settings, keys or agents count."""

    folder: Path

    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        dropped = ("AWS_", "DVC_", "GIT_", "SSH_", "XDG_")
        return {key: value for key, value in os.environ.items() if not key.startswith(dropped)} | {
            "HOME": str(home),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "site"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def call(self, folder: Path, *command: str, expect: int = 0, **environ: str) -> str:
        """Run a command in `folder`; what it prints."""
        done = subprocess.run(
            self.tool(command),
            cwd=folder,
            env=self.environ() | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def tool(self, command: tuple[str, ...]) -> list[str]:
        return [str(BIN / "dvc") if command[0] == "dvc" else command[0], *command[1:]]

    def says(self, folder: Path, *command: str, expect: int = 255, **environ: str) -> str:
        """The one line, soon, by which a command that fails says why."""
        begun = time.monotonic()
        output = self.call(folder, *command, expect=expect, **environ)
        assert time.monotonic() - begun < SOON
        assert "Traceback" not in output
        lines = [line for line in output.splitlines() if line.startswith("ERROR")]
        assert len(lines) == 1, output
        assert len(lines[0]) < 300
        return lines[0]

    def repository(self, *settings: tuple[str, ...], files: int = 12, size: int = 5000) -> Path:
        """A git and DVC repository with the folder `data` of `files` files and some odd ones."""
        path = self.folder / "repository"
        (path / "data/below it").mkdir(parents=True)
        chance = random.Random(1)
        for number in range(files):
            (path / "data" / f"{number:03d}.bin").write_bytes(chance.randbytes(size))
        (path / "data/below it/größe").write_bytes(chance.randbytes(300_000))
        (path / "data/below it/empty").write_bytes(b"")
        self.call(path, "git", "init", "--quiet")
        for key, value in (("user.name", "A"), ("user.email", "a@example.org")):
            self.call(path, "git", "config", key, value)
        self.call(path, "dvc", "init", "--quiet")
        for setting in settings:
            self.call(path, "dvc", "remote", *setting)
        self.call(path, "dvc", "add", "--quiet", "data")
        self.call(path, "git", "add", "--all")
        self.call(path, "git", "commit", "--quiet", "--message", "data")
        return path

    def clone(self, repository: Path, *settings: tuple[str, ...], name: str = "clone") -> Path:
        """A clone, with settings of its own that are not committed."""
        path = self.folder / name
        self.call(self.folder, "git", "clone", "--quiet", str(repository), str(path))
        for setting in settings:
            self.call(path, "dvc", "remote", *setting)
        return path


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_in_sync(place: Place, repository: Path) -> None:
    assert "are in sync" in place.call(repository, "dvc", "status", "--cloud")


def round_trip(place: Place, repository: Path, *local: tuple[str, ...]) -> None:
    """Push, clone, pull, and compare byte by byte."""
    assert "15 files pushed" in place.call(repository, "dvc", "push")  # with the list of the folder
    assert_in_sync(place, repository)
    assert "Everything is up to date" in place.call(repository, "dvc", "push")
    clone = place.clone(repository, *local)
    assert not (clone / "data").exists()
    place.call(clone, "dvc", "pull")
    assert len(contents(clone / "data")) == 14
    assert contents(clone / "data") == contents(repository / "data")
    assert_in_sync(place, clone)
    assert place.call(clone, "git", "status", "--porcelain") == ""


def interrupt_push(place: Place, repository: Path, stored: Callable[[], list[str]], *, total: int) -> None:
    """Kill a push when some objects have arrived, and let the next one complete it."""
    process = subprocess.Popen(
        place.tool(("dvc", "push", "--jobs", "1")),
        cwd=repository,
        env=place.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(stored()) < 5:
        assert process.poll() is None, "the push ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    arrived = stored()
    assert 5 <= len(arrived) < total, len(arrived)
    assert not [name for name in arrived if name.endswith(".dir")]  # the list of a folder comes last
    assert "are in sync" not in place.call(repository, "dvc", "status", "--cloud")
    assert "pushed" in place.call(repository, "dvc", "push")
    assert_in_sync(place, repository)


def object_of(repository: Path, name: str) -> str:
    """Where a remote keeps a file of `data`, below its root."""
    import hashlib

    md5 = hashlib.md5((repository / "data" / name).read_bytes()).hexdigest()
    return f"files/md5/{md5[:2]}/{md5[2:]}"
