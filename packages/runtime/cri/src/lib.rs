//! The published CRI v1 interface: messages, client and server.
