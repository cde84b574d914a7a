//! Whole sessions over pipes in memory, on a real store in a temporary folder.
