//! The streaming server of CRI: exec, attach and port-forward.
