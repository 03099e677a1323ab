//! The sandbox pool, the runtimes, and the logs of one run.
