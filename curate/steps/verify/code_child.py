"""What `curate.steps.verify.code` starts: it fences itself in, runs a program and its tests, and reports once.

The job is JSON on the standard input; the report is JSON to the file descriptor that the job names. Nothing but the
standard library is imported. See `curate.steps.verify.code` for what each fence holds.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import struct
import sys
import types

_ZONES = "/usr/share/zoneinfo"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_MOST_FILE = 16 << 20  # bytes
_MOST_FILES = 64
_MESSAGE = 300  # characters

# Of x86-64: what would open a connection, start a process, signal one, or lead out of the fence.
_ARCHITECTURE = 0xC000003E
_SYSCALLS = (
    *(41, 42, 43, 49, 50, 288),  # socket, connect, accept, bind, listen, accept4
    *(56, 57, 58, 59, 322),  # clone, fork, vfork, execve, execveat
    *(62, 129, 200, 234, 297, 424),  # kill, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo, pidfd_send_signal
    *(101, 310, 311, 434, 438),  # ptrace, process_vm_readv, process_vm_writev, pidfd_open, pidfd_getfd
    *(155, 160, 161, 165, 169, 272),  # pivot_root, setrlimit, chroot, mount, reboot, unshare
    *(302, 308, 175, 246, 313, 320),  # prlimit64, setns, init_module, kexec_load, finit_module, kexec_file_load
    *(298, 321, 323, 425, 426, 427),  # perf_event_open, bpf, userfaultfd, io_uring_setup, _enter, _register
    *(103, 248, 249, 250),  # syslog, add_key, request_key, keyctl
)
_CLONE3, _FOREIGN = 435, 0x40000000
_EPERM, _ENOSYS = 1, 38

# Rights of Landlock: to read, those that a file can have, all below a folder of one's own; what each version knows.
_READ = 1 << 2 | 1 << 3  # files, folders
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # what can be said of a file: execute, write, read, truncate
_OWN = _READ | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}

_PATHS = {
    "os.listdir": False,
    "os.scandir": False,
    "os.chmod": True,
    "os.chown": True,
    "os.link": True,
    "os.mkdir": True,
    "os.remove": True,
    "os.rename": True,
    "os.rmdir": True,
    "os.symlink": True,
    "os.truncate": True,
    "os.utime": True,
}
_NEVER = re.compile(
    r"subprocess\.|os\.(?:system|exec|posix_spawn|spawn|fork|forkpty|kill|killpg|startfile)|pty\.|socket\.|ctypes\.|"
    r"resource\.setrlimit|resource\.prlimit|signal\.pthread_kill|syslog\.|urllib\.|http\.|ftplib\.|"
    r"smtplib\.|webbrowser\."
)


class _Fence:
    """The hook that the interpreter calls before it opens, starts or connects to something."""

    def __init__(self, folder: str) -> None:
        self.broken: list[str] = []
        self._own = os.path.realpath(folder)
        self._readable = (self._own, os.path.dirname(os.path.realpath(os.__file__)), _ZONES, "/dev/null")

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = args[0], args[1], args[2]
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) != 0
            self._check(event, path, changes or (isinstance(mode, str) and mode.strip("rbtU") != ""))
        elif event in _PATHS:
            for path in args[: 2 if event in ("os.rename", "os.link") else 1]:
                self._check(event, path, _PATHS[event])
        elif event == "socket.__new__" and args[1] == 1:  # a pair within the process: asyncio makes one
            return
        elif _NEVER.match(event):
            self._refuse(event)

    def _check(self, event: str, path: object, changes: bool) -> None:
        if not isinstance(path, str | bytes):
            return  # a descriptor that is open already, or the working folder
        whole = os.path.realpath(os.fsdecode(path))
        if changes and whole == "/dev/null":
            return
        roots = (self._own,) if changes else self._readable
        if not any(whole == root or whole.startswith(root + os.sep) for root in roots):
            self._refuse(f"{event} {'for writing ' if changes else ''}{os.fsdecode(path)}")

    def _refuse(self, what: str) -> None:
        self.broken.append(what)
        raise PermissionError(f"forbidden: {what}")


def limit(memory: int, seconds: int) -> None:
    """Set what the process may use: bytes of address space, and seconds of processor time."""
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, _MOST_FILE),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # Past the soft limit of processor time there is a signal, past the hard one another.
        spare = kind == resource.RLIMIT_CPU and (hard == resource.RLIM_INFINITY or hard > wanted)
        resource.setrlimit(kind, (wanted, wanted + 1 if spare else wanted))


def filter_calls(libc: ctypes.CDLL) -> bool:
    """Have the kernel refuse some system calls for good (seccomp); False where it does not know how."""
    load, equal, least, answer = 0x20, 0x15, 0x35, 0x06
    errno, allow, kill = 0x00050000, 0x7FFF0000, 0x80000000
    code = [(load, 0, 0, 4), (equal, 1, 0, _ARCHITECTURE), (answer, 0, 0, kill), (load, 0, 0, 0)]
    code += [(least, 0, 1, _FOREIGN), (answer, 0, 0, kill), (equal, 0, 1, _CLONE3), (answer, 0, 0, errno | _ENOSYS)]
    for number in _SYSCALLS:
        code += [(equal, 0, 1, number), (answer, 0, 0, errno | _EPERM)]
    code.append((answer, 0, 0, allow))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    # A sock_fprog: how many, and where they are.
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(program)))
    set_seccomp, by_filter = 22, 2
    return os.uname().machine == "x86_64" and libc.prctl(set_seccomp, by_filter, filters, 0, 0) == 0


def fence_files(libc: ctypes.CDLL, folder: str) -> bool:
    """Have the kernel refuse files elsewhere (Landlock); False where it does not know how."""
    create, add, restrict = 444, 445, 446
    version = libc.syscall(create, None, 0, 1)
    if version < 1:
        return False
    handled = _HANDLED[min(version, 3)]
    rules = libc.syscall(create, ctypes.create_string_buffer(struct.pack("=Q", handled), 8), 8, 0)
    if rules < 0:
        return False
    standard = os.path.dirname(os.path.realpath(os.__file__))
    readable = [(path, _READ) for path in (standard, os.path.join(sys.base_prefix, "lib"), _ZONES, *_LIBRARIES)]
    for path, rights in [*readable, ("/dev/null", 1 << 1 | 1 << 2), (folder, _OWN)]:
        if not os.path.exists(path):
            continue
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        said = rights & handled & (-1 if os.path.isdir(path) else _FILE)
        beneath = ctypes.create_string_buffer(struct.pack("=Qi", said, handle), 12)
        added = libc.syscall(add, rules, 1, beneath, 0)
        os.close(handle)
        if added != 0:
            return False
    held: bool = libc.syscall(restrict, rules, 0) == 0
    os.close(rules)
    return held


def _outcome(code: str, tests: str) -> tuple[str, str]:
    """Run the program and its tests as one module; why it ended, and the last line of what it said."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        exec(compile(code, "code.py", "exec"), module.__dict__)
        exec(compile(tests, "tests.py", "exec"), module.__dict__)
    except MemoryError:
        return "memory", "MemoryError"
    except BaseException as error:
        return "wrong" if isinstance(error, AssertionError) else "error", _said(error)
    return "ok", ""


def _said(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except BaseException:
        lines = []
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


def main() -> None:
    """Fence, run, report."""
    job = json.load(sys.stdin)
    folder = str(job["folder"])
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    no_new_privileges = 38
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    limit(int(job["memory"]), int(job["seconds"]))
    fences = [fence_files(libc, folder), filter_calls(libc)]
    write, leave, dump = os.write, os._exit, json.dumps
    fence = _Fence(folder)
    sys.addaudithook(fence)
    reason, message = _outcome(str(job["code"]), str(job["tests"]))
    if fence.broken:
        reason, message = "forbidden", fence.broken[0]
    message = re.sub(r"0x[0-9a-fA-F]{6,}", "0x", message.replace(folder, "."))[:_MESSAGE]
    write(int(job["report"]), dump({"reason": reason, "message": message, "fences": fences}).encode())
    leave(0)


if __name__ == "__main__":
    main()
