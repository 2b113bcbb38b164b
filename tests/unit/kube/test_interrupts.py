import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from stepworks.kube.runs.interrupts import cleaning_up_at_signals


def interrupted(number: int, clean_up: Callable[[], None]) -> None:
    with cleaning_up_at_signals(clean_up):
        os.kill(os.getpid(), number)
        threading.Event().wait(30)
        raise AssertionError("the signal did not end the block")


def test_sigterm_cleans_up_in_another_thread_and_ends_the_process() -> None:
    cleaners: list[threading.Thread] = []
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught:
            interrupted(signal.SIGTERM, lambda: cleaners.append(threading.current_thread()))
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert cleaners
    assert cleaners[0] is not threading.main_thread()


def test_an_interrupt_from_the_keyboard_stays_one() -> None:
    done = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        interrupted(signal.SIGINT, done.set)
    assert done.is_set()


def test_the_clean_up_needs_no_lock_that_the_main_thread_holds_only_while_it_unwinds() -> None:
    lock, done = threading.Lock(), threading.Event()

    def clean_up() -> None:
        with lock:
            done.set()

    def interrupt_within_the_lock() -> None:
        with cleaning_up_at_signals(clean_up), lock:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(30)

    with pytest.raises(KeyboardInterrupt):
        interrupt_within_the_lock()
    assert done.is_set()


def test_who_handled_the_signal_before_hears_of_it_after_the_clean_up() -> None:
    heard: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("handled"))
    try:
        with pytest.raises(SystemExit):
            interrupted(signal.SIGTERM, lambda: heard.append("cleaned up"))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["cleaned up", "handled"]


def test_a_second_signal_does_not_disturb_the_end() -> None:
    steps: list[str] = []

    def end_twice() -> None:
        with cleaning_up_at_signals(lambda: steps.append("cleaned up")):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(30)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("unwound")

    with pytest.raises(KeyboardInterrupt):
        end_twice()
    assert sorted(steps) == ["cleaned up", "unwound"]


def test_a_second_interrupt_ends_the_wait_for_the_clean_up() -> None:
    done, given_up = threading.Event(), threading.Event()

    def clean_up() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        done.wait(8)
        assert given_up.is_set()

    with pytest.raises(KeyboardInterrupt):
        interrupted(signal.SIGINT, clean_up)
    alive = [thread for thread in threading.enumerate() if thread.name == "clean up"]
    given_up.set()
    done.set()
    assert len(alive) == 1
    alive[0].join()


def test_the_block_knows_whether_a_signal_came() -> None:
    known: list[bool] = []

    def end() -> None:
        with cleaning_up_at_signals(lambda: None) as interruption:
            known.append(interruption.came)
            try:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(30)
            finally:
                known.append(interruption.came)

    with pytest.raises(KeyboardInterrupt):
        end()
    assert known == [False, True]


def test_what_the_handler_raised_and_python_dropped_is_raised_again() -> None:
    def drop_and_check() -> None:
        with cleaning_up_at_signals(lambda: None) as interruption:
            with suppress(KeyboardInterrupt):  # as in a finalizer
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(30)
            interruption.check()

    with pytest.raises(KeyboardInterrupt):
        drop_and_check()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    cleaned: list[int] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with cleaning_up_at_signals(lambda: cleaned.append(1)):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleaned == []


def test_without_a_signal_nothing_is_cleaned_up_and_the_handlers_are_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    cleaned: list[int] = []
    with cleaning_up_at_signals(lambda: cleaned.append(1)):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert cleaned == []


def test_another_thread_goes_without() -> None:
    handlers: list[object] = []

    def work() -> None:
        with cleaning_up_at_signals(lambda: None):
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
