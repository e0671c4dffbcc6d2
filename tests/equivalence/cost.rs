//! What markers cost, in system calls.
