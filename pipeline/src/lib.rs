//! Behind the edge: log, sequencer, store, presence, pusher.
