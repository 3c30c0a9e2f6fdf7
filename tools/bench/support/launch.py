"""Start one command from a small process and print what it used, as one line of JSON.

Linux counts the memory of the process that starts a command into the peak memory of the command.  A bench
that has numpy and onnx loaded would report its own size for every small tool, so it starts this script,
which imports next to nothing, and lets it start the command.

Usage: ``python -I -S launch.py STDOUT STDERR CPU_SECONDS CPUS COMMAND...``
"""

import json
import os
import resource
import sys
import time


def main() -> None:
    """Run the command under a CPU limit and report exit code, CPU seconds, wall seconds and peak bytes."""
    stdout, stderr, cpu_seconds, cpus = sys.argv[1:5]
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        become(sys.argv[5:], stdout, stderr, int(cpu_seconds), int(cpus))
    _, status, used = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    report = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.monotonic() - started,
        "peak": used.ru_maxrss * unit,
    }
    print(json.dumps(report))


def become(command: list[str], stdout: str, stderr: str, cpu_seconds: int, cpus: int) -> None:
    """Turn this process into the command; exit code 127 when it cannot be started."""
    for descriptor, path in ((1, stdout), (2, stderr)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cpus:])
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


if __name__ == "__main__":
    main()
