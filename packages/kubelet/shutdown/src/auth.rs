//! Who a client is, before any message: the text lines of SASL, with EXTERNAL as the only mechanism.
//!
//! EXTERNAL means the credentials that the kernel knows of the other end. They are looked at before the first line;
//! what a client says of itself must be the same.

use std::fmt::Write;

/// The longest line that is taken.
pub(crate) const LONGEST: usize = 512;
/// As many lines as the wordiest client needs, and some more.
const LINES: u8 = 16;

/// What follows a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This answer, and the next line.
    Answer(String),
    /// Messages begin.
    Begin,
    /// The connection ends.
    End(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Who it says it is comes with the next line.
    Identity,
    Known,
}

/// One conversation.
#[derive(Debug)]
pub(crate) struct Auth<'a> {
    /// The user's number in decimal digits, each as its ASCII code in hexadecimal.
    identity: String,
    guid: &'a str,
    state: State,
    takes_descriptors: bool,
    lines: u8,
}

impl<'a> Auth<'a> {
    /// With a client whose user is `uid`, at the server `guid`.
    pub(crate) fn new(uid: u32, guid: &'a str) -> Self {
        let identity = uid.to_string().bytes().fold(String::new(), |mut text, digit| {
            // Writing to a string does not fail.
            let _ = write!(text, "{digit:02x}");
            text
        });
        Self { identity, guid, state: State::Start, takes_descriptors: false, lines: 0 }
    }

    /// Whether it asked for descriptors.
    pub(crate) fn takes_descriptors(&self) -> bool {
        self.takes_descriptors
    }

    /// What follows a line, which comes without its end.
    pub(crate) fn line(&mut self, line: &[u8]) -> Step {
        self.lines += 1;
        if self.lines > LINES {
            return Step::End("too many lines before BEGIN");
        }
        let Ok(line) = std::str::from_utf8(line) else { return Step::End("a line before BEGIN is no text") };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (self.state, word) {
            (State::Start, "AUTH") => match rest.split_once(' ').unwrap_or((rest, "")) {
                ("EXTERNAL", "") => {
                    self.state = State::Identity;
                    Step::Answer("DATA".to_owned())
                }
                ("EXTERNAL", identity) => self.identify(identity),
                _ => self.reject(),
            },
            // Without any it is who the kernel says.
            (State::Identity, "DATA") if rest.is_empty() => self.accept(),
            (State::Identity, "DATA") => self.identify(rest),
            (State::Known, "NEGOTIATE_UNIX_FD") => {
                self.takes_descriptors = true;
                Step::Answer("AGREE_UNIX_FD".to_owned())
            }
            (State::Known, "BEGIN") => Step::Begin,
            (_, "BEGIN") => Step::End("BEGIN before it was known who asks"),
            (_, "CANCEL" | "ERROR") => self.reject(),
            _ => Step::Answer("ERROR".to_owned()),
        }
    }

    fn identify(&mut self, identity: &str) -> Step {
        if identity.eq_ignore_ascii_case(&self.identity) { self.accept() } else { self.reject() }
    }

    fn accept(&mut self) -> Step {
        self.state = State::Known;
        Step::Answer(format!("OK {}", self.guid))
    }

    fn reject(&mut self) -> Step {
        self.state = State::Start;
        Step::Answer("REJECTED EXTERNAL".to_owned())
    }
}

/// Takes the first line, with its end, out of what came; `None` while it is not there as a whole.
pub(crate) fn take_line(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, &'static str> {
    match buffer.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) if end <= LONGEST => {
            let line = buffer[..end].to_vec();
            buffer.drain(..end + 2);
            Ok(Some(line))
        }
        None if buffer.len() <= LONGEST => Ok(None),
        _ => Err("a line before BEGIN is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(uid: u32, lines: &[&str]) -> Vec<Step> {
        let mut auth = Auth::new(uid, "77");
        lines.iter().map(|line| auth.line(line.as_bytes())).collect()
    }

    fn answer(text: &str) -> Step {
        Step::Answer(text.to_owned())
    }

    #[test]
    fn godbus() {
        let steps = says(0, &["AUTH", "AUTH EXTERNAL", "DATA", "NEGOTIATE_UNIX_FD", "BEGIN"]);
        let want = ["REJECTED EXTERNAL", "DATA", "OK 77", "AGREE_UNIX_FD"].map(answer);
        assert_eq!(steps, [&want[..], &[Step::Begin]].concat());
    }

    #[test]
    fn an_identity_must_be_the_one_the_kernel_knows() {
        assert_eq!(says(1000, &["AUTH EXTERNAL 31303030"]), [answer("OK 77")]);
        assert_eq!(says(1000, &["AUTH EXTERNAL", "DATA 31303030"])[1], answer("OK 77"));
        for other in [
            "AUTH EXTERNAL 30",
            "AUTH EXTERNAL 3130303",
            "AUTH EXTERNAL 313030300",
            "AUTH ANONYMOUS 31",
            "AUTH",
        ] {
            let steps = says(1000, &[other, "BEGIN"]);
            assert_eq!(steps[0], answer("REJECTED EXTERNAL"), "{other}");
            assert!(matches!(steps[1], Step::End(_)), "{other}");
        }
    }

    #[test]
    fn nothing_goes_before_it_is_known_who_asks() {
        assert_eq!(
            says(0, &["NEGOTIATE_UNIX_FD", "DATA 30", ""]),
            [answer("ERROR"), answer("ERROR"), answer("ERROR")]
        );
        assert!(matches!(says(0, &["BEGIN"])[0], Step::End(_)));
        assert_eq!(says(0, &["AUTH EXTERNAL 30", "CANCEL", "NEGOTIATE_UNIX_FD"])[2], answer("ERROR"));
    }

    #[test]
    fn no_conversation_is_endless() {
        let steps = says(0, &["AUTH"; 17]);
        assert!(matches!(steps[16], Step::End(_)));
        assert_eq!(steps[15], answer("REJECTED EXTERNAL"));
        assert!(matches!(Auth::new(0, "77").line(b"AUTH \xff"), Step::End(_)));
    }

    #[test]
    fn lines() {
        let mut buffer = b"AUTH\r\nBEGIN\r\nl\x01".to_vec();
        assert_eq!(take_line(&mut buffer), Ok(Some(b"AUTH".to_vec())));
        assert_eq!(take_line(&mut buffer), Ok(Some(b"BEGIN".to_vec())));
        assert_eq!((take_line(&mut buffer), buffer.as_slice()), (Ok(None), &b"l\x01"[..]));
        assert!(take_line(&mut vec![b'A'; LONGEST + 1]).is_err());
        assert!(take_line(&mut [&[b'A'; LONGEST + 1][..], b"\r\n"].concat()).is_err());
        assert!(take_line(&mut [&[b'A'; LONGEST][..], b"\r\n"].concat()).is_ok_and(|line| line.is_some()));
    }
}
