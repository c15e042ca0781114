"""Settings of a process, made once at its start, before any parallel work."""

import ctypes
import functools
import signal

# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 1 << 30


# What asks a run to stop: it saves first. Its worker processes do not heed them, it ends them itself.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


@functools.cache
def prepare_process() -> None:
    """Make results reproducible and freed memory reusable in this process; later calls do nothing.

    * One intra-op thread: metarl's parallelism is over chunks of tasks, and several intra-op threads collapse
      as soon as another process holds a core.
    * Each transcendental function runs once on a large tensor: the first parallel call of a fresh process is
      otherwise served at low precision now and then (pytorch issue 188792).
    * glibc keeps large freed blocks: by default each freed tensor goes back to the system and the next one of
      its size is paged in again.
    """
    import torch  # not above: what looks for signals need not wait for it

    torch.set_num_threads(1)
    x = torch.full((65536,), 0.5)
    for fn in (torch.tanh, torch.exp, torch.log, torch.sin, torch.cos, torch.sqrt, torch.sigmoid, torch.erf):
        fn(x)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc: its allocator decides
    mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
