//! How messages with machine configs and command lines are shown: they can hold secrets, which are not for logs.

use std::fmt;

use crate::v1::{ApplyConfigRequest, CheckConfigRequest, DiffConfigRequest, ExecStart, GetConfigResponse};

impl fmt::Debug for ApplyConfigRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyConfigRequest")
            .field("expected_revision", &self.expected_revision)
            .field("try_s", &self.try_s)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CheckConfigRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckConfigRequest").finish_non_exhaustive()
    }
}

impl fmt::Debug for DiffConfigRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiffConfigRequest").finish_non_exhaustive()
    }
}

impl fmt::Debug for GetConfigResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetConfigResponse")
            .field("revision", &self.revision)
            .field("sources", &self.sources)
            .field("trial", &self.trial)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ExecStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecStart")
            .field("container", &self.container)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let text = "token = \"hunter2\"".to_owned();
        let shown = [
            format!("{:?}", ApplyConfigRequest { text: text.clone(), ..Default::default() }),
            format!("{:?}", CheckConfigRequest { text: text.clone() }),
            format!("{:?}", DiffConfigRequest { text: text.clone() }),
            format!("{:?}", GetConfigResponse { effective: text.clone(), ..Default::default() }),
            format!("{:?}", ExecStart { command: vec![text], ..Default::default() }),
        ];
        assert!(shown.iter().all(|shown| !shown.contains("hunter2")), "{shown:?}");
    }
}
