//! Requests, and how a line becomes one.

use serde::{Deserialize, Serialize};

use crate::{MAX_REQUEST, VERSION};

/// One line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Message {
    /// The protocol that the client speaks: [`VERSION`].
    pub version: u32,
    /// What it asks.
    pub request: Request,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The whole host: answered by [`crate::Answer::Status`].
    Status,
    /// All services: answered by [`crate::Answer::Services`].
    Services,
    /// One service: answered by [`crate::Answer::Service`].
    Service {
        /// Its name.
        name: String,
    },
    /// The services and what becomes of them: answered by [`crate::Answer::Services`], then by one [`crate::Answer::Change`]
    /// for each change of a state, until the client goes. A client that takes them too slowly gets
    /// [`crate::Answer::Lost`], and [`crate::Answer::Services`] again.
    Watch,
    /// A log: answered by one [`crate::Answer::Line`] for each record, then [`crate::Answer::End`] unless it is followed.
    Logs {
        /// Whose.
        name: LogName,
        /// Whether records to come are sent, too, until the client goes.
        #[serde(default)]
        follow: bool,
        /// How many of the newest records; all that are kept unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u32>,
        /// Only lines of this number and later ones. Where some of these are no longer kept, the first record says how
        /// many. A number that no line has yet is that of another start of the host: all that are kept are sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
    },
    /// Starts a service and what it needs.
    Start {
        /// Its name.
        name: String,
    },
    /// Stops a service and what needs it.
    Stop {
        /// Its name.
        name: String,
    },
    /// Stops a service and starts it again.
    Restart {
        /// Its name.
        name: String,
    },
    /// Stops the host and starts it again.
    Reboot,
    /// Stops the host and switches it off.
    Poweroff,
    /// Gives the host a name; only the service `network` may, for a name that came by DHCP or OVF.
    SetHostname {
        /// The name (RFC 1123).
        hostname: String,
    },
    /// Merges a machine config that was fetched; only the service `config` may.
    ApplyConfig {
        /// Where it came from.
        source: String,
        /// The config, as TOML.
        text: String,
    },
    /// Shows why no machine config could be fetched yet; only the service `config` may.
    ConfigFailed {
        /// What was tried and why it failed.
        message: String,
    },
    /// Empties the state partition at the next boot.
    ResetState,
    /// The machine config: answered by [`crate::Answer::Config`].
    GetConfig,
    /// What applying a machine config would change: answered by [`crate::Answer::ConfigChange`], or by
    /// [`crate::Answer::ConfigProblems`] when it cannot be applied. Nothing is changed.
    CheckConfig {
        /// The config, as TOML.
        text: String,
    },
    /// Applies a machine config in place of the one that was applied before; an empty one takes that away. Answered as
    /// [`Request::CheckConfig`] is.
    ApplyConfigChange {
        /// The config, as TOML.
        text: String,
        /// The revision that the client saw. When there is another one now, the answer is [`crate::ErrorKind::Conflict`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<String>,
        /// The host goes back to the config before after so many seconds (1 to 3600), and when it restarts, unless
        /// [`Request::ConfirmConfig`] comes.
        #[serde(rename = "try-s", default, skip_serializing_if = "Option::is_none")]
        try_s: Option<u32>,
    },
    /// Keeps a machine config that is on trial.
    ConfirmConfig {
        /// The trial's, from the answer to [`Request::ApplyConfigChange`]. For any other one the answer is
        /// [`crate::ErrorKind::NoTrial`].
        id: String,
    },
}

/// The log that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogName {
    /// The kernel's, with the records of PID 1.
    Kernel,
    /// That of one service.
    Service(String),
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// It is too long.
    #[error("the request is longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// It is no JSON, or no request of this protocol.
    #[error("the request cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is of another protocol.
    #[error("the request has version {0}, and this host speaks version {VERSION}")]
    Version(u32),
}

impl Request {
    /// The line that asks this, with its end.
    pub fn to_line(&self) -> String {
        let message = Message { version: VERSION, request: self.clone() };
        let mut line = serde_json::to_string(&message).expect("requests are made of text and numbers");
        line.push('\n');
        line
    }

    /// The request of a line without its end.
    pub fn from_line(line: &[u8]) -> Result<Self, BadRequest> {
        if line.len() > MAX_REQUEST {
            return Err(BadRequest::TooLong);
        }
        let message: Message = serde_json::from_slice(line)?;
        match message.version {
            VERSION => Ok(message.request),
            other => Err(BadRequest::Version(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_and_come_back() {
        let logs =
            Request::Logs { name: LogName::Service("a".into()), follow: true, lines: Some(5), from: None };
        let from = Request::Logs { name: LogName::Kernel, follow: false, lines: None, from: Some(7) };
        for (request, line) in [
            (Request::Status, "{\"version\":1,\"request\":\"status\"}\n"),
            (
                Request::Start { name: "a".into() },
                "{\"version\":1,\"request\":{\"start\":{\"name\":\"a\"}}}\n",
            ),
            (
                Request::ApplyConfigChange { text: "a".into(), expected: None, try_s: Some(60) },
                "{\"version\":1,\"request\":{\"apply-config-change\":{\"text\":\"a\",\"try-s\":60}}}\n",
            ),
            (
                logs,
                "{\"version\":1,\"request\":{\"logs\":{\"name\":{\"service\":\"a\"},\"follow\":true,\"lines\":5}}}\n",
            ),
            (
                from,
                "{\"version\":1,\"request\":{\"logs\":{\"name\":\"kernel\",\"follow\":false,\"from\":7}}}\n",
            ),
            (Request::Watch, "{\"version\":1,\"request\":\"watch\"}\n"),
        ] {
            assert_eq!(request.to_line(), line);
            assert_eq!(Request::from_line(line.trim_end().as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            &b""[..],
            b"{}",
            b"\"status\"",
            b"{\"version\":1,\"request\":\"halt\"}",
            b"{\"version\":1,\"request\":\"status\",\"x\":1}",
            b"{\"version\":1,\"request\":{\"start\":{\"name\":\"a\",\"x\":1}}}",
            b"\xff",
        ] {
            assert!(matches!(Request::from_line(bad), Err(BadRequest::Syntax(_))), "{bad:?}");
        }
        let newer = Request::from_line(b"{\"version\":2,\"request\":\"status\"}");
        assert!(matches!(newer, Err(BadRequest::Version(2))));
        assert!(matches!(Request::from_line(&vec![b' '; MAX_REQUEST + 1]), Err(BadRequest::TooLong)));
        // Nesting has a bound, too: the reader must not overflow its stack.
        assert!(Request::from_line(&vec![b'['; MAX_REQUEST]).is_err());
    }
}
