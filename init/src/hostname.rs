//! The host name: from the machine config, else from the image, else `lepton`.
//!
//! A bad name is reported and the next source is used; the kernel never sees a name that DNS would refuse.

use std::io;

use crate::files;

/// The name of a host that was given none.
const DEFAULT: &str = "lepton";

/// `__NEW_UTS_LEN`: the kernel refuses longer names.
const MAX_LEN: usize = 64;

/// The name to use, and what was wrong with a name that had to be skipped.
pub fn choose(asked: Option<&str>, image: Option<&str>) -> (String, Vec<String>) {
    let sources = [("machine config", asked), ("/etc/hostname", image)];
    let mut errors = Vec::new();
    for (source, name) in sources {
        match name {
            Some(name) if is_valid(name) => return (name.to_owned(), errors),
            Some(name) => errors.push(format!("{source}: {name:?} is not a host name (RFC 1123)")),
            None => {}
        }
    }
    (DEFAULT.to_owned(), errors)
}

/// RFC 1123 section 2.1: labels of 1 to 63 letters, digits and inner hyphens, separated by dots.
fn is_valid(name: &str) -> bool {
    name.len() <= MAX_LEN
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// The name of a host whose configuration gives none.
pub fn without_config() -> String {
    choose(None, files::read_value("/etc/hostname").ok().as_deref()).0
}

/// Gives the kernel its host name; returns it with the mistakes met on the way.
pub fn set(asked: Option<&str>) -> io::Result<(String, Vec<String>)> {
    let image = files::read_value("/etc/hostname").ok();
    let (name, errors) = choose(asked, image.as_deref());
    rustix::system::sethostname(name.as_bytes())?;
    Ok((name, errors))
}

/// Gives the kernel another host name, which came from the network.
pub fn rename(name: &str) -> io::Result<()> {
    if !is_valid(name) {
        return Err(io::Error::other(format!("{name:?} is not a host name (RFC 1123)")));
    }
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "edge-1", "Node7.example.org", "3com", &"a".repeat(63)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "é", &"a".repeat(64), &"a.".repeat(33)]
        {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn sources_in_order() {
        let name = |asked, image| choose(asked, image).0;
        assert_eq!(name(Some("a"), Some("b")), "a");
        assert_eq!(name(None, Some("b")), "b");
        assert_eq!(name(None, None), "lepton");
        assert_eq!(
            choose(Some("-bad-"), Some("")),
            (
                "lepton".to_owned(),
                vec![
                    "machine config: \"-bad-\" is not a host name (RFC 1123)".to_owned(),
                    "/etc/hostname: \"\" is not a host name (RFC 1123)".to_owned(),
                ]
            )
        );
    }
}
