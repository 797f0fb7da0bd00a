//! OCI images on a host: registries, contents, snapshots.
