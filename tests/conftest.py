"For all tests."
import signal

# A shell that starts something in the background has it ignore Ctrl-C, and so do all its children: the tests that press Ctrl-C would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
