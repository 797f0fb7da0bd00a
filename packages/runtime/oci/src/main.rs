//! Makes one container from an OCI bundle, through libcontainer.

fn main() {}
