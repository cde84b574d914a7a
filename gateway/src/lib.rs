//! The edge: transports, sessions, feeds, the hub.
