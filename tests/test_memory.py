import pytest
import torch

from ganedit import memory

GIB = 1 << 30
MACHINE = {"proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable:    8388608 kB\n"}  # 8 GiB left
SECOND = {"proc/self/cgroup": "0::/jobs/one\n"}
FIRST = {"proc/self/cgroup": "4:cpu,cpuacct:/\n3:memory:/jobs/one\n0::/elsewhere\n"}


@pytest.fixture
def available(tmp_path, monkeypatch):
    """Return the memory that is available where the system's files say this."""
    monkeypatch.setattr(memory, "_PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")

    def tell(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}")
        return memory.available_memory()

    return tell


def test_without_limits_the_machine_decides(available):
    assert available({}) is None
    assert available(MACHINE) == 8 * GIB
    unlimited = {"groups/jobs/one/memory.max": "max\n", "groups/jobs/one/memory.current": GIB}
    assert available({**SECOND, **unlimited}) == 8 * GIB


def test_a_control_group_leaves_its_limit_less_what_it_holds(available):
    group = {"groups/jobs/one/memory.max": 4 * GIB, "groups/jobs/one/memory.current": 3 * GIB}
    assert available({**MACHINE, **SECOND, **group}) == GIB
    cached = f"anon 1\ninactive_file {GIB}\n"  # which the system would give back
    assert available({"groups/jobs/one/memory.stat": cached}) == 2 * GIB
    assert available({"groups/jobs/one/memory.current": 6 * GIB}) == 0


@pytest.mark.parametrize("place", ["groups/jobs", "groups"])
def test_a_limit_holds_for_the_groups_inside(available, place):
    # "groups" is also what a container sees: its own group, though its path is the host's.
    group = {f"{place}/memory.max": f"{3 * GIB}\n", f"{place}/memory.current": f"{GIB}\n"}
    assert available({**MACHINE, **SECOND, **group}) == 2 * GIB


def test_control_groups_of_version_1_count_too(available):
    place = "groups/memory/jobs/one/memory"
    group = {f"{place}.limit_in_bytes": 4 * GIB, f"{place}.usage_in_bytes": 3 * GIB}
    assert available({**MACHINE, **FIRST, **group}) == GIB
    assert available({f"{place}.stat": f"total_inactive_file {GIB}\n"}) == 2 * GIB
    assert available({f"{place}.limit_in_bytes": 2**63 - 4096}) == 8 * GIB


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as tried:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert not isinstance(tried.value, torch.OutOfMemoryError)
    for error in (
        tried.value,
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        MemoryError(),
    ):
        assert memory.is_out_of_memory(error)
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), KeyboardInterrupt()):
        assert not memory.is_out_of_memory(error)
