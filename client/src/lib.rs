//! The Rust client: QUIC, WebTransport and WebSocket behind one type.
