//! Figures that other services of the host write as text, in either format.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use lepton_identity_control::{Answer, Client, Request};

use crate::family::{Families, Kind};
use crate::{Outcome, PATIENCE, Places};

/// More is no figures.
const LONGEST: u64 = 4 << 20;

/// Those of the identity agent.
pub(crate) fn identity(places: &Places, families: &mut Families) -> Outcome {
    if !places.identity.exists() {
        return Outcome::Absent;
    }
    match Client::connect_to(&places.identity).and_then(|mut client| client.ask(&Request::Metrics)) {
        Ok(Answer::Metrics(text)) => {
            read(&text, families);
            Outcome::Read
        }
        _ => Outcome::Failed,
    }
}

/// Those of the service that sends logs.
pub(crate) fn logs(places: &Places, families: &mut Families) -> Outcome {
    if !places.logs.exists() {
        return Outcome::Absent;
    }
    match get(&places.logs) {
        Some(text) => {
            read(&text, families);
            Outcome::Read
        }
        None => Outcome::Failed,
    }
}

/// The body of an answer over HTTP. In version 1.0 it ends with the connection.
fn get(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|code| *code == "200")?;
    Some(body.to_owned())
}

/// Takes all samples whose types are known here. A family of the older format is called as its samples are.
pub(crate) fn read(text: &str, families: &mut Families) {
    let mut help = std::collections::BTreeMap::new();
    let mut kinds = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, text.replace("\\n", "\n").replace("\\\\", "\\"));
        } else if let Some((name, word)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            kinds.insert(name, kind(word));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, labels, value)) = sample(line) else { continue };
        let family = |suffix: &str| {
            let name = sample.strip_suffix(suffix)?;
            Some((name, *kinds.get(name)?))
        };
        let found = family("")
            .or_else(|| family("_total").filter(|(_, kind)| *kind == Some(Kind::Counter)))
            .or_else(|| family("_info").filter(|(_, kind)| *kind == Some(Kind::Info)));
        // Without a type here it is one that has several samples, which belong together.
        let Some((name, Some(kind))) = found else { continue };
        let text = help.get(name).map_or("", String::as_str);
        let name = name.strip_suffix(kind.suffix()).filter(|_| !kind.suffix().is_empty()).unwrap_or(name);
        families.add(name, kind, text).written(labels, value);
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "gauge" => Some(Kind::Gauge),
        "counter" => Some(Kind::Counter),
        "stateset" => Some(Kind::StateSet),
        "info" => Some(Kind::Info),
        "unknown" | "untyped" => Some(Kind::Unknown),
        _ => None,
    }
}

/// Name, labels in braces and value of a line; what comes behind that is left out.
fn sample(line: &str) -> Option<(&str, &str, &str)> {
    let name_ends = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_ends);
    let labels_end = match rest.starts_with('{') {
        true => closing(rest)? + 1,
        false => 0,
    };
    let (labels, rest) = rest.split_at(labels_end);
    let value = rest.split_whitespace().next()?;
    value.parse::<f64>().ok()?;
    Some((name, labels, value))
}

/// The brace that ends labels; one in a value is in quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return Some(place),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn both_formats_become_one() {
        let mut families = Families::default();
        read(
            "# TYPE a_b counter\n# HELP a_b Of the newer.\na_b_total{x=\"}\\\"\"} 5\n# TYPE s stateset\n# HELP s S.\n\
             s{s=\"on\"} 1\n# EOF\n",
            &mut families,
        );
        read(
            "# HELP c_total Of the older.\n# TYPE c_total counter\nc_total{x=\"y\"} 7 1700000000\n\
             # TYPE h histogram\nh_bucket{le=\"1\"} 1\nuntold 3\nbroken{x=\"y 4\nd nothing\n",
            &mut families,
        );
        expect![[r#"
            # TYPE a_b counter
            # HELP a_b Of the newer.
            a_b_total{x="}\""} 5
            # TYPE c counter
            # HELP c Of the older.
            c_total{x="y"} 7
            # TYPE s stateset
            # HELP s S.
            s{s="on"} 1
            # EOF
        "#]]
        .assert_eq(&families.text(crate::Format::OpenMetrics));
    }

    #[test]
    fn answers_over_http() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            for answer in
                ["HTTP/1.0 200 OK\r\na: b\r\n\r\n# TYPE x gauge\nx 1\n", "HTTP/1.0 500 No\r\n\r\nx 1\n"]
            {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].ends_with(b"\r\n\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(get(&path).as_deref(), Some("# TYPE x gauge\nx 1\n"));
        assert_eq!(get(&path), None);
        served.join().unwrap();
    }
}
