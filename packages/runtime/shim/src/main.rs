//! The process that keeps one pod's containers while the runtime is away.

fn main() {}
