"For all tests."
import signal
import pytest
from labkit import browser

# A shell that starts something in the background has it ignore Ctrl-C, and so do all its children: the tests that press Ctrl-C would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='module')
def chrome():
    "A browser; each test opens a page of its own in it."
    with browser() as b: yield b
