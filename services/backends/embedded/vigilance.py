"""How closely the processes that load and run models are watched, and what they may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vigilance:
    """How closely processes are watched.

    Attributes:
        heartbeat_seconds: Seconds between two looks at every worker.
        missed_heartbeats: Pings in a row that a worker may leave unanswered.
        memory_bytes: The most memory that a process may hold, what it shares with others included.
        archive_seconds: The most seconds that an archive may take to load.
    """

    heartbeat_seconds: float = 1.0
    missed_heartbeats: int = 3
    memory_bytes: int = 3 << 30
    archive_seconds: float = 300.0

    def memory_fault(self, held: int) -> str:
        """Say what is wrong where a process holds more bytes than it may; empty where it does not."""
        if held <= self.memory_bytes:
            return ""
        setting = "worker_memory_bytes, GANTRY_WORKER_MEMORY_BYTES"
        return f"holds {held:,} bytes and may hold only {self.memory_bytes:,} ({setting})"
