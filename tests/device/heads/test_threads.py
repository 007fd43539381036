"""The limit of one BLAS thread while a head is computed."""

import threading

from threadpoolctl import threadpool_info

from device.heads.threads import one_blas_thread


def _threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_ends_with_the_work() -> None:
    """Inside there is one thread, also after a nested limit has ended; outside the threads are as before."""
    before = _threads()
    with one_blas_thread():
        with one_blas_thread():
            assert _threads() == {1}
        assert _threads() == {1}
    assert _threads() == before


def test_only_one_thread_at_a_time_sets_the_limit() -> None:
    """Another thread waits, or works under the limit that is there; in the end the threads are as before."""
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with one_blas_thread():
            entered.set()
            leave.wait(10)

    def wait() -> None:
        with one_blas_thread():
            done.set()

    before = _threads()
    threads = [threading.Thread(target=work), threading.Thread(target=wait)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    with one_blas_thread(wait=False):
        assert _threads() == {1}
    assert not done.is_set()
    leave.set()
    for thread in threads:
        thread.join()
    assert done.is_set()
    assert _threads() == before
