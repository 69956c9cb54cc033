"""Putting this process into a world of its own: run in the child, before any program is.

Linux only, through libc and without help from outside: new user, mount, network, process, IPC and host name
namespaces; a root file system in memory that shows the system's libraries and Python read-only and nothing else; no
capabilities. What bubblewrap does, for machines that do not have it. Imports the standard library alone, because the
child runs without Kilter.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_NEW = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000  # mount, UTS, IPC, user, PID, net
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # of statvfs and their names in mount
_DETACH = 2
_DEATH_SIGNAL, _DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38
_NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Be killed as soon as the parent is gone, whatever becomes of it."""
    _call("prctl", _DEATH_SIGNAL, 9, 0, 0, 0)


def enter(root: str, writable_mb: int) -> None:
    """Leave the system: afterwards this process, and what it forks, see `root` as /, with an empty /tmp.

    The caller's next fork is the first process of the new PID namespace; with it everything inside ends. Raises
    `OSError` where the kernel does not allow it.
    """
    privileged = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    helper = _IdMapper() if privileged else None
    _call("unshare", _NEW)
    if helper is not None:
        helper.write()
    else:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _build(root, writable_mb)
    old = os.path.join(root, "old")
    os.mkdir(old)
    _call("pivot_root", root.encode(), old.encode())
    os.chdir("/")
    _call("umount2", b"/old", _DETACH)
    os.rmdir("/old")
    _mount(None, "/", None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES)


def give_up_privileges() -> None:
    """No capabilities, never again any, and not root, so that the limit on processes counts."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _call("capset", header, none)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("prctl", _DUMPABLE, 0, 0, 0, 0)  # programs run as the same user: they must not trace this process


def limit(cpu_seconds: int, memory_mb: int, file_mb: int, processes: int, open_files: int) -> None:
    """Set hard limits on this process and what it starts."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))  # first a signal that says why
    for kind, value in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, file_mb << 20),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


class _IdMapper:
    """Somebody outside of the new user namespace who maps two users into it: root, to build, and nobody, to run."""

    def __init__(self) -> None:
        self.go, self.done = os.pipe(), os.pipe()
        self.pid = os.getpid()
        self.helper = os.fork()
        if self.helper == 0:
            status = 1
            try:
                os.close(self.go[1])
                if os.read(self.go[0], 1):
                    for name in ("uid_map", "gid_map"):
                        _write(f"/proc/{self.pid}/{name}", f"0 0 1\n{_NOBODY} {_NOBODY} 1")
                    status = 0
            finally:
                os._exit(status)

    def write(self) -> None:
        os.write(self.go[1], b"x")
        _, status = os.waitpid(self.helper, 0)
        for one in (*self.go, *self.done):
            os.close(one)
        if status != 0:
            raise PermissionError("the users of a new namespace cannot be mapped")
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _build(root: str, writable_mb: int) -> None:
    """The root file system: libraries and Python, read-only, three devices, and an empty /tmp."""
    _mount("tmpfs", root, "tmpfs", _NO_SUID | _NO_DEVICES, "size=1m,mode=755")
    for place in dict.fromkeys(("/usr", "/lib", "/lib64", "/lib32", sys.base_prefix, sys.base_exec_prefix)):
        inside = root + place
        if os.path.islink(place):
            os.symlink(os.readlink(place), inside)
        elif os.path.isdir(place) and not os.path.exists(inside):
            os.makedirs(inside)
            _mount(place, inside, None, _BIND | _RECURSIVE)
            kept = sum(flag for seen, flag in _KEPT_FLAGS.items() if os.statvfs(inside).f_flag & seen)
            _mount(None, inside, None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES | kept)
    os.mkdir(root + "/dev")
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        with open(root + device, "x"):
            pass
        _mount(device, root + device, None, _BIND)
    os.mkdir(root + "/tmp")
    _mount("tmpfs", root + "/tmp", "tmpfs", _NO_SUID | _NO_DEVICES, f"size={writable_mb}m,mode=1777")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, data)]
    _call("mount", words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _call(name: str, *arguments: object) -> None:
    function = getattr(_libc, name, None)
    if function is None:
        raise OSError(f"this system has no {name}")
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
