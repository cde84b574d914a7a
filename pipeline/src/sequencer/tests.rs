//! The sequencer on its stores and logs.
