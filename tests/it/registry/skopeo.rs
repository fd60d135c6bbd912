//! skopeo as a real client, and the OCI layouts it pushes.
