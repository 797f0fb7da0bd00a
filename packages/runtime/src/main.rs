//! The CRI v1 container runtime of a Lepton host.

fn main() {}
